import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { moduleKind } from '../../../../src/cli/modules/module-kind.ts'

let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'module-kind-'))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function kindOf(ending: string, code: string): string | undefined {
  const path = join(directory, `a.${ending}`)
  writeFileSync(path, code)
  return moduleKind(pathToFileURL(path).href)
}

it.each([
  ['js', 'export default () => {}', 'module'],
  ['js', "import 'a'", 'module'],
  ['js', '/* export default 1 */ module.exports = 1', 'commonjs'],
  ['js', "const path = '/*'\nexport default 1 // */", 'module'],
  ['js', '`\nexport default 1\n`; exports.a = 1', 'commonjs'],
  ['js', 'const a = 1', undefined],
  // A bundle has it all.
  ['js', 'var x = { "a.js"(exports, module) { module.exports = require("b") } }\nexport default x', 'module'],
  ['ts', "import path from 'node:path'\nexport default path.join(__dirname, 'a')", 'commonjs'],
  ['ts', "import a from 'a'\nconst __dirname = import.meta.dirname\nexport default a", 'module'],
  ['ts', "import { a } from 'a'\nexport default a.require('b') + a.exports.b", 'module'],
  ['ts', "import a = require('a')\nexport default a", 'commonjs'],
  ['cts', "import a from 'a'\nexport = a", 'commonjs'],
  ['cts', "import a from 'a'\nexport default a", 'module'],
  ['tsx', "const a = require('a')\nmodule.exports = () => <p />", 'commonjs'],
  ['mjs', 'module.exports = 1', undefined],
  ['cjs', 'export default 1', undefined],
])('a .%s with %j is of the kind %s', (ending, code, kind) => {
  expect(kindOf(ending, code)).toBe(kind)
})

it('is not asked of packages', () => {
  expect(moduleKind('file:///app/node_modules/a/index.js')).toBeUndefined()
  expect(moduleKind('node:fs')).toBeUndefined()
})
