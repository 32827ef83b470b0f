#!/usr/bin/env bash
# Three people chat; then what each of them saw must be what was said and done, and all must have left in peace.
# usage: 02_chat_test.sh CHAT_PROGRAM
set -euo pipefail
chat=$1
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
declare -A keyboard screen process seen

start() {  # NAME [ADDRESS]
    mkfifo "$folder/$1.in" "$folder/$1.out"
    "$chat" "$@" <"$folder/$1.in" >"$folder/$1.out" 2>&1 &
    process[$1]=$! seen[$1]=$'\n'
    exec {keyboard[$1]}>"$folder/$1.in" {screen[$1]}<"$folder/$1.out"
}

see() {  # NAME PATTERN: waits until NAME's screen shows such a line; lines from two threads have no order
    local line
    until [[ ${seen[$1]} == *$'\n'$2$'\n'* ]]; do
        if ! read -r -t 30 -u "${screen[$1]}" line; then
            echo "$1 does not see '$2' but only:${seen[$1]}"
            exit 1
        fi
        seen[$1]+=$line$'\n'
    done
}

say() {  # NAME TEXT
    echo "$2" >&"${keyboard[$1]}"
}

address() {  # NAME: where it can be reached
    see "$1" "\* $1 can be reached at *"
    local line=${seen[$1]#*can be reached at }
    found=${line%%$'\n'*}
}

left() {  # NAME LINE...: it must have ended well, and its screen must have shown these lines and no others
    local name=$1 expected line
    shift
    wait "${process[$name]}"
    while read -r -u "${screen[$name]}" line; do seen[$name]+=$line$'\n'; done
    expected=$(printf '%s\n' "$@" | sort)
    if [[ $(sort <<<"${seen[$name]:1:-1}" | grep -v 'can be reached at') != "$expected" ]]; then
        printf '%s saw:\n%s\nand not:\n%s\n' "$name" "${seen[$name]}" "$expected"
        exit 1
    fi
}

start ann
address ann
start bob "$found"
address bob
start cleo "$found"
for name in ann bob cleo; do
    for other in ann bob cleo; do
        [[ $name == "$other" ]] || see "$name" "\* $other is here, at no terminal"
    done
done

say ann 'Hello, world!'
see bob 'ann: Hello, world!'
see cleo 'ann: Hello, world!'
say bob 'Hello, ann.'
see ann 'bob: Hello, ann.'
see cleo 'bob: Hello, ann.'
say cleo 'Bye!'
exec {keyboard[cleo]}>&-  # Ctrl-D
left cleo '* ann is here, at no terminal' '* bob is here, at no terminal' 'ann: Hello, world!' 'bob: Hello, ann.'
see ann '\* cleo is gone: left'
see bob '\* cleo is gone: left'
kill -INT "${process[bob]}"  # Ctrl-C
left bob '* ann is here, at no terminal' '* cleo is here, at no terminal' '* cleo is gone: left' \
    'ann: Hello, world!' 'cleo: Bye!'
see ann '\* bob is gone: left'
say ann 'Anybody?'
exec {keyboard[ann]}>&-
left ann '* bob is here, at no terminal' '* cleo is here, at no terminal' '* bob is gone: left' \
    '* cleo is gone: left' 'bob: Hello, ann.' 'cleo: Bye!' '* nobody hears that'
echo 'all have heard each other and left'
