import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Mongrel2Error } from '../runtime/errors.ts'
import { type Mongrel2Config, renderMongrel2Config } from './render-config.ts'

/**
 * Writes a configuration into a directory as `mongrel2.conf`, and lets `m2sh load` make `config.sqlite` of it, from which Mongrel2 starts.
 *
 * @throws {Mongrel2Error} `invalid_option` as `renderMongrel2Config`; `load_failed` if m2sh cannot be run or reports an error.
 */
export async function loadMongrel2Config(directory: string, config: Mongrel2Config): Promise<void> {
  await loadConfigText(directory, renderMongrel2Config(config))
}

/** The same with the text of a configuration. */
export async function loadConfigText(directory: string, text: string): Promise<void> {
  const file = join(directory, 'mongrel2.conf')
  await writeFile(file, text)
  // It writes the name of the user into its log, and reports an error without one.
  const env = { ...process.env, LOGNAME: process.env.LOGNAME ?? 'mongrel2-fetch' }
  const output = await new Promise<string>((resolve) => {
    const args = ['load', '-config', 'mongrel2.conf', '-db', 'config.sqlite']
    execFile('m2sh', args, { cwd: directory, env }, (error, stdout, stderr) =>
      resolve(`${error === null ? '' : `[ERROR] ${error.message}\n`}${stdout}${stderr}`),
    )
  })
  // Its exit code is 0 for some errors. It reports "Invalid type given" for a raw_payload, which it loads.
  if (/\[ERROR\](?!.*Invalid type given)/.test(output))
    throw new Mongrel2Error('load_failed', `m2sh could not load ${file}: ${output}`)
}
