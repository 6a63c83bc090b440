import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { moduleBeside } from '../../runtime/module-beside.ts'

/** How long the other process may take, in milliseconds: an app that ran may keep it alive. */
const LONGEST = 10_000

/**
 * Puts before the stack of a syntax error where it is, as Node does with other errors: a line such as `file:///app/part.js:2`, and that line
 * of the file. Node tells the place of a syntax error in an ES module only when nobody catches it, so another process does not.
 *
 * That process imports the module again. Nothing of it runs, unless the part with the error is imported dynamically: then the process ends
 * after a while at the latest.
 *
 * @param path The module that was imported; the error may be in one of its parts.
 */
export async function addPlace(error: unknown, path: string): Promise<void> {
  if (!(error instanceof SyntaxError) || !/^SyntaxError.*\n +at compileSourceTextModule/.test(error.stack ?? '')) return
  const importer = moduleBeside(import.meta.url, './import-module').href
  const code = `const { importModule } = await import(process.argv[1]); await importModule(process.argv[2], false)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code, importer, path], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: LONGEST,
    killSignal: 'SIGKILL',
  })
  // A process that cannot be started tells no place.
  child.on('error', () => {})
  if (child.stderr === null || child.stderr === undefined) return
  const [place] = (await text(child.stderr)).split('SyntaxError:')
  if (place?.startsWith('file:')) error.stack = `${place.trimEnd()}\n${error.stack}`
}
