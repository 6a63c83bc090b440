import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

/** How long packing and installing may take, in milliseconds: they wait for the disk, and for the registry where the cache has nothing. */
export const INSTALL_TIMEOUT = 120_000

const INSTALL_OPTIONS = ['--prefer-offline', '--no-audit', '--no-fund']

/** A project of somebody who has installed this package, as it would be published. */
export class UserProject implements Disposable {
  readonly directory: string
  /** The files of the package. */
  readonly files: string[]

  private constructor(directory: string, files: string[]) {
    this.directory = directory
    this.files = files
  }

  /** @param options.from A directory with a `package.json` and a lock file that the project is a copy of; without it, it is empty. */
  static async create({ from }: { from?: URL } = {}): Promise<UserProject> {
    const directory = mkdtempSync(join(tmpdir(), 'user-project-'))
    // Without scripts: `prepare` would build dist/ anew while other tests use it.
    const packing = ['pack', '--json', '--ignore-scripts', '--pack-destination', directory]
    const packed = await run('npm', packing, process.cwd())
    const [tarball] = JSON.parse(packed) as { filename: string; files: { path: string }[] }[]
    if (tarball === undefined) throw new Error(`Expected a tarball, got ${packed}`)
    const project = new UserProject(
      directory,
      tarball.files.map(({ path }) => path),
    )
    if (from === undefined) {
      project.write('package.json', JSON.stringify({ name: 'a-user', private: true, type: 'module' }))
    } else {
      cpSync(from, directory, { recursive: true, filter: (path) => !path.endsWith('/node_modules') })
      await run('npm', ['ci', ...INSTALL_OPTIONS], directory)
    }
    await project.#install(`./${tarball.filename}`)
    return project
  }

  /** Installs packages in the versions that this package is developed with. */
  async install(...names: string[]): Promise<void> {
    await this.#install(...names.map((name) => `${name}@${developedWith(name)}`))
  }

  write(path: string, text: string): void {
    writeFileSync(join(this.directory, path), text)
  }

  /** Runs a command of an installed package; what it printed. */
  async npx(...words: string[]): Promise<string> {
    return await run('npx', ['--no', '--', ...words], this.directory)
  }

  /** Runs a script of its `package.json`. */
  async runScript(name: string): Promise<void> {
    await run('npm', ['run', name], this.directory)
  }

  /** Runs a module of JavaScript; what it printed. */
  async script(code: string): Promise<string> {
    const at = mkdtempSync(join(this.directory, 'script-'))
    writeFileSync(join(at, 'main.mjs'), code)
    return await run(process.execPath, ['main.mjs'], at)
  }

  /**
   * Checks the types of files and compiles them, each to a `.js` beside it.
   *
   * @param options.skipLibCheck Whether the declarations of packages are believed, as most projects do.
   * @throws {Error} With what the compiler complains about.
   */
  async compile(paths: string[], { skipLibCheck = false }: { skipLibCheck?: boolean } = {}): Promise<void> {
    const options = `--module nodenext --target es2023 --types node --strict --exactOptionalPropertyTypes --skipLibCheck ${skipLibCheck}`
    const tsc = resolve('node_modules/typescript/bin/tsc')
    await run(process.execPath, [tsc, ...options.split(' '), ...paths], this.directory)
  }

  /**
   * Checks its types as its `tsconfig.json` says.
   *
   * @throws {Error} With what the compiler complains about.
   */
  async checkTypes(): Promise<void> {
    await run(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', '.'], this.directory)
  }

  async #install(...packages: string[]): Promise<void> {
    await run('npm', ['install', '--save-exact', ...INSTALL_OPTIONS, ...packages], this.directory)
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function developedWith(name: string): string {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as { version: string }
  return version
}

/** Runs a program to its end; what it printed. Its failure has both outputs. */
async function run(command: string, args: string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  }
}
