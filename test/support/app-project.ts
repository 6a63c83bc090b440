import { mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { Workplace } from './command.ts'

/** The `type` of a project's package.json. */
export type ProjectType = 'module' | 'commonjs' | undefined

export const PROJECT_TYPES: readonly ProjectType[] = ['module', 'commonjs', undefined]

/** A file with an app: its ending, and how it imports and exports. */
export interface AppFile {
  readonly ending: string
  readonly syntax: 'import' | 'require' | 'export ='
}

/** Apps of every kind. */
export const APP_FILES: readonly AppFile[] = [
  ...['ts', 'mts', 'cts', 'tsx', 'js', 'mjs', 'jsx'].map((ending) => ({ ending, syntax: 'import' }) as const),
  ...['ts', 'cts', 'tsx', 'js', 'cjs', 'jsx'].map((ending) => ({ ending, syntax: 'require' }) as const),
  { ending: 'cts', syntax: 'export =' },
]

/** What each of these apps answers, if its parts are there and the package in it is the one that serves it. */
export const ANSWER = 'part aliased enum'

const isTypeScript = (ending: string) => /^[cm]?tsx?$/.test(ending)
/** Node alone loads JavaScript: it finds no part without its ending, and no alias. */
const isPlain = (ending: string) => /^[cm]?js$/.test(ending)

/**
 * A module whose default export answers `/` with `ANSWER`, and which leaves the `Topic` it has imported and its own URL in `globalThis.app`.
 * It needs the packages and parts of `AppProject`.
 */
export function appCode({ ending, syntax }: AppFile): string {
  const plain = isPlain(ending)
  const imports = [
    ['Hono', 'hono'],
    ['Topic', 'mongrel2-fetch'],
    ['part', plain ? './plain.js' : './part'],
    ['aliased', plain ? './plain.js' : '@/aliased'],
  ]
  const isModule = syntax === 'import'
  const text = "[part, aliased, Late.text].join(' ')"
  return `${imports.map(([name, from]) => (syntax === 'require' ? `const { ${name} } = require('${from}')` : `import { ${name} } from '${from}'`)).join('\n')}
const routes = ['/*', "//", \`/*\`] // no comments begin in these
${isTypeScript(ending) ? "enum Late { text = 'enum' }" : "const Late = { text: 'enum' }"}
const app = new Hono()
app.get('/', (c) => ${ending.endsWith('x') ? `c.html(<>{${text}}</>)` : `c.text(${text})`})
app.get('/throws', () => {
  throw new Error('thrown')
})
app.onError((error) => { throw error })
${isModule && ending !== 'cts' ? 'await Promise.resolve()' : ''}
Object.assign(globalThis, { app: { Topic, url: ${isModule ? 'import.meta.url' : 'require("node:url").pathToFileURL(__filename).href'} } })
${{ import: 'export default app', require: 'module.exports = app', 'export =': 'export = app' }[syntax]}
`
}

/** A project with `hono`, this package and tsx, and with the parts of the apps. */
export class AppProject extends Workplace {
  constructor(type: ProjectType) {
    super()
    mkdirSync(join(this.directory, 'node_modules'))
    for (const name of ['hono', 'tsx']) this.link(name)
    this.link('mongrel2-fetch', '.')
    this.write('package.json', JSON.stringify({ name: 'an-app', type }))
    const compilerOptions = {
      jsx: 'react-jsx',
      jsxImportSource: 'hono/jsx',
      allowJs: true,
      paths: { '@/*': ['./lib/*'] },
    }
    this.write('tsconfig.json', JSON.stringify({ compilerOptions }))
    mkdirSync(join(this.directory, 'lib'))
    this.write('lib/aliased.ts', "export const aliased: string = 'aliased'")
    this.write('part.ts', "enum Part { text = 'part' }\nexport const part: string = Part.text")
    this.write('plain.js', "exports.part = 'part'\nexports.aliased = 'aliased'")
  }

  /** Puts a package of this repository into the project. */
  link(name: string, target = `node_modules/${name}`): void {
    const path = join(this.directory, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(resolve(target), path)
  }
}
