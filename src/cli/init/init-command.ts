import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { CommandError, type Ending } from '../shared/exit-code.ts'

/** The templates, with the packages that each needs beside this one. */
export const TEMPLATES = { hono: ['hono'], itty: ['itty-router'], plain: [], chat: ['hono'] } as const

export type Template = keyof typeof TEMPLATES

/** What stands for the project's name in the files and their names. */
const NAME = 'my-app'
/** How the templates name files that begin with a dot: npm leaves `.gitignore` out of packages. */
const DOT = /^dot-/

interface Manifest {
  readonly version: string
  readonly engines: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** Runs `mongrel2-fetch init`: writes a project, changes no file that exists, and throws CommandError `failed` if there was one. */
export async function initCommand(directory: string, template: Template): Promise<Ending> {
  const left: string[] = []
  const files = await filesOf(template, resolve(directory))
  for (const [path, text] of files) {
    if (!(await create(join(directory, path), text))) left.push(path)
  }
  const enter = resolve(directory) === process.cwd() ? [] : [`cd ${quoted(directory)}`]
  const next = [...enter, 'npm install', 'npm run dev', 'npm test'].slice(0, 3)
  const written = `${files.size - left.length} files of the template ${template}`
  process.stdout.write(`Wrote ${written} to ${directory}, next:\n\n${next.map((line) => `  ${line}\n`).join('')}\n`)
  if (left.length > 0)
    throw new CommandError('failed', `these files existed and are unchanged: ${left.sort().join(', ')}`)
  return 'ok'
}

/** The files of a project, by their paths in it. */
async function filesOf(template: Template, directory: string): Promise<Map<string, string>> {
  const require = createRequire(import.meta.url)
  const manifestPath = require.resolve('mongrel2-fetch/package.json')
  const manifest: Manifest = require(manifestPath)
  const name = packageNameFor(basename(directory), manifest)
  const files = new Map([['package.json', packageJson(name, template, manifest)]])
  for (const part of ['common', template]) {
    const root = join(dirname(manifestPath), 'templates', part)
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const path = join(entry.parentPath, entry.name)
      const place = join(relative(root, entry.parentPath), entry.name.replace(DOT, '.'))
      files.set(place.replaceAll(NAME, name), (await readFile(path, 'utf8')).replaceAll(NAME, name))
    }
  }
  return files
}

/** A name for npm, systemd and Mongrel2, which no package has that the project needs. */
function packageNameFor(directory: string, { devDependencies }: Manifest): string {
  const name =
    directory
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'app'
  return name === 'mongrel2-fetch' || name in devDependencies ? `${name}-app` : name
}

/** The packages come in the versions that this package is tested with. */
function packageJson(name: string, template: Template, { version, engines, devDependencies }: Manifest): string {
  const tested = (names: readonly string[]) => names.map((each) => [each, devDependencies[each]])
  const manifest = {
    name,
    private: true,
    type: 'module',
    engines,
    scripts: {
      dev: 'mongrel2-fetch dev',
      check: 'tsc',
      test: 'node --import tsx --test *.test.ts',
      mongrel2: `mkdir -p mongrel2/run mongrel2/logs mongrel2/tmp && m2sh load -config mongrel2.conf -db mongrel2/config.sqlite && cd mongrel2 && exec mongrel2 config.sqlite ${name}`,
      start: 'mongrel2-fetch serve',
    },
    dependencies: Object.fromEntries([
      ...tested(TEMPLATES[template]),
      ['mongrel2-fetch', `^${version}`],
      ...tested(['tsx']),
    ]),
    devDependencies: Object.fromEntries(tested(['@types/node', 'typescript'])),
  }
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}

/** Writes a new file; false if there is one. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && syscall === 'open') return false
    throw new CommandError('usage', `cannot write ${path}: ${message}`)
  }
}

/** A word for a shell. */
function quoted(word: string): string {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
