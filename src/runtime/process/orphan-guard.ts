import type { ChildProcess } from 'node:child_process'
import { Socket } from 'node:net'
import { fs } from './node-fs.ts'

const { rmSync } = fs

// Ends processes and removes directories that must not outlive this process, even if it is killed: a shell waits for the end of a pipe
// that only this process holds. The shell runs as long as anything is guarded.

/** Seconds for a process to end by itself after this one: longer than workers wait for open requests. */
const GRACE = 20

/** `$0` is the grace; each argument is a guarded entry: an absolute path, or `KILL PID`, `TERM PID` or `late PID`. */
const SCRIPT = `trap '' HUP INT TERM
while read -r change entry; do
  [ "$change" = + ] && set -- "$@" "$entry" && continue
  for kept; do shift; [ "$kept" = "$entry" ] || set -- "$@" "$kept"; done
done
for entry; do case $entry in KILL*|TERM*) kill -s $entry;; esac; done
for entry; do case $entry in /*) rm -rf "$entry";; esac; done
seconds=0
while :; do
  for entry; do shift; case $entry in late*) kill -0 "\${entry#late }" && set -- "$@" "$entry";; esac; done
  [ $# -gt 0 ] || exit 0
  [ "$seconds" -lt "$0" ] || break
  seconds=$((seconds + 1))
  sleep 1
done
for entry; do kill -s KILL "\${entry#late }"; done`

const entries = new Set<string>()
let shell: ChildProcess | undefined

// At an ordinary exit this process does it itself.
process.on('exit', () => {
  for (const entry of entries) {
    const [how, pid] = entry.split(' ')
    if (how !== 'KILL' && how !== 'TERM') continue
    try {
      process.kill(Number(pid), `SIG${how}`)
    } catch {
      // It has ended already.
    }
  }
  for (const entry of entries) if (entry.startsWith('/')) removeDirectory(entry)
})

/** Ends a child process when this one ends: by a signal at once, or `late` by SIGKILL if it does not end by itself. */
export function guardChild(child: ChildProcess, how: 'KILL' | 'TERM' | 'late'): void {
  if (child.pid === undefined) return // it could not be started
  const entry = `${how} ${child.pid}`
  add(entry)
  child.once('exit', () => drop(entry))
}

/** Removes a directory (an absolute path) when this process ends; call it before making the directory. Returns what removes it now. */
export function guardDirectory(directory: string): () => void {
  add(directory)
  return () => {
    removeDirectory(directory)
    drop(directory)
  }
}

function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true })
}

function add(entry: string): void {
  entries.add(entry)
  if (shell !== undefined) return tell('+', entry)
  try {
    shell = startShell()
  } catch {
    // Without a shell, or without the right to start programs, nothing is guarded.
  }
  for (const each of entries) tell('+', each)
}

function drop(entry: string): void {
  if (!entries.delete(entry)) return
  if (entries.size > 0) return tell('-', entry)
  shell?.kill('SIGKILL')
  shell = undefined
}

function startShell(): ChildProcess {
  const child = process.getBuiltinModule('node:child_process').spawn('/bin/sh', ['-c', SCRIPT, String(GRACE)], {
    cwd: '/',
    // The shell needs its programs even if PATH lacks them.
    env: { PATH: `${process.env.PATH}:/usr/bin:/bin` },
    stdio: ['pipe', 'ignore', 'ignore'],
    // In its own session it does not get signals to the process group.
    detached: true,
  })
  const gone = () => {
    if (shell === child) shell = undefined
  }
  child.on('error', gone).on('exit', gone)
  // Without free file descriptors there is no pipe.
  child.stdin?.on('error', () => {})
  child.unref()
  if (child.stdin instanceof Socket) child.stdin.unref()
  return child
}

function tell(change: '+' | '-', entry: string): void {
  shell?.stdin?.write(`${change} ${entry}\n`)
}
