#!/bin/sh
# Many requests of one model, a JSON object a line.
set -eu
. "$(dirname "$0")/cli.sh"
clip='-W 48 -H 32 -f 5 --steps 1 --dtype f32 -q'

# batch OPTION...: the lines of jobs.jsonl.
batch() {
    # shellcheck disable=SC2086
    run generate "$model" --jobs jobs.jsonl $clip "$@"
}

cat >jobs.jsonl <<'END'
{"prompt": "fox", "output": "one.y4m", "seed": 1}
{"prompt": "a \"fox\"", "negative_prompt": "bad", "output": "two.y4m", "seed": 18446744073709551, "steps": 2, "guidance_scale": 3.5, "fps": 23.976}

{"prompt": "fox", "output": "three-%d.y4m", "seed": 3, "num-videos": 2, "report": "three-%d.json"}
{"prompt": "fox", "output": "one.y4m", "seed": 4, "overwrite": true, "crf": null, "no_metadata": false}
END
batch
ok 'batch: exit' [ "$code" = 0 ]
ok 'batch: says nothing' [ ! -s "$work/stderr" ]
# shellcheck disable=SC2086
run generate "$model" -p 'a "fox"' -n bad $clip --steps 2 --guidance-scale 3.5 --fps 23.976 \
    -s 18446744073709551 -o lone.y4m
ok 'the second is what it is alone' cmp two.y4m lone.y4m
# shellcheck disable=SC2086
run generate "$model" -p fox $clip -s 4 -o lone.y4m -y
ok 'the last took the place of the first' cmp one.y4m lone.y4m
ok 'the third are two' cmp three-1.y4m one.y4m
ok 'reports of the third' [ -s three-0.json ]

# --- one that fails does not stop the others ---
cat >jobs.jsonl <<'END'
{"prompt": "fox", "output": "one.y4m"}
{"prompt": "fox", "output": "a.y4m", "width": 50}
{"prompt": "fox", "output": "b.y4m", "image": "missing.png"}
not json
[1]
{"prompt": ["fox"], "output": "c.y4m"}
{"prompt": "fox", "output": "d.y4m", "device": "cpu"}
{"prompt": "fox", "output": "e.y4m", "frobnicate": 1}
{"prompt": "@missing.txt", "output": "f.y4m"}
{"output": "g.y4m"}
{"prompt": "fox"}
{"prompt": "fox", "output": "last.y4m", "seed": 4}
END
batch
ok 'failing: exit' [ "$code" = 1 ]
ok 'failing: the last is there' cmp last.y4m lone.y4m
ok 'failing: nothing else is' [ "$(find . -name '?.y4m')" = '' ]
for line in 1 2 3 4 5 6 7 8 9 10 11; do
    ok "failing: line $line is told" grep -q "jobs.jsonl: line $line failed" "$work/stderr"
done
for word in 'one.y4m: exists' 'width: 50' 'image: ' 'line 4 is no JSON' 'prompt: a list' 'device: is the same' \
    'frobnicate: is not an option' 'missing.txt' 'the prompt is missing' 'the output is missing'; do
    ok "failing: $word" grep -q "$word" "$work/stderr"
done

# --- what cannot be ---
printf '{"prompt": "fox", "output": "-", "format": "y4m"}\n{"prompt": "fox", "output": "-", "format": "y4m"}\n' >pipe.jsonl
# shellcheck disable=SC2086
run generate "$model" --jobs pipe.jsonl $clip
ok 'one pipe, two clips: exit' [ "$code" = 1 ]
ok 'one pipe, two clips: one is there' [ "$(grep -a -c YUV4MPEG2 "$work/stdout")" = 1 ]
printf '{"prompt": "fox", "report": "kept.jsonl", "format": "null"}\n' >kept.jsonl
# shellcheck disable=SC2086
run generate "$model" --jobs kept.jsonl $clip
ok 'the requests are not written over' [ "$code" = 1 ]
ok 'the requests are there' grep -q kept.jsonl kept.jsonl
printf '{"prompt": 5, "seed": 3, "output": 7, "format": "y4m"}\n' >numbers.jsonl
# shellcheck disable=SC2086
run generate "$model" --jobs numbers.jsonl $clip
ok 'numbers as texts: exit' [ "$code" = 0 ]
ok 'numbers as texts: the output' [ -s 7 ]
run generate "$model" --jobs .
ok 'a folder of requests' [ "$code" = 2 ]
refused 'missing.jsonl' generate "$model" --jobs missing.jsonl
refused 'each request names its own output' generate "$model" --jobs jobs.jsonl -o new.y4m

# --- memory does not grow ---
peak() {
    # shellcheck disable=SC2086
    python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$weft" generate "$model" --jobs jobs.jsonl $clip
}
if [ -z "${WEFT_SANITIZED:-}" ]; then
    for count in 10 100; do
        python3 -c "
for i in range($count):
    print('{\"prompt\": \"fox %d\", \"seed\": %d, \"format\": \"null\"}' % (i, i))" >jobs.jsonl
        eval "peak_$count=$(peak)"
    done
    # shellcheck disable=SC2154
    ok "a hundred jobs: $peak_10 and $peak_100 kB" [ $((peak_100 * 100)) -le $((peak_10 * 102)) ]
fi

finish
