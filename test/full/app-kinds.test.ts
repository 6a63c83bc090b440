import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ANSWER, APP_FILES, AppProject, appCode, PROJECT_TYPES, type ProjectType } from '../support/app-project.ts'
import { nodeOf } from '../support/other-node.ts'
import { INSTALL_TIMEOUT } from '../support/user-project.ts'

const { engines } = JSON.parse(readFileSync('package.json', 'utf8')) as { engines: { node: string } }
const VERSIONS = [engines.node.replace('>=', ''), '22', '24', '26']

const LOADER = pathToFileURL(resolve('dist/src/cli/modules/load-handler.js')).href
const PACKAGE = pathToFileURL(resolve('dist/src/index.js')).href

/** Loads an app as the command does; prints its answer, and what else is to be seen. */
const SCRIPT = `
const { loadHandler } = await import('${LOADER}')
const { Topic } = await import('${PACKAGE}')
const { handler } = await loadHandler(process.argv[1], 'default')
const { Topic: imported, url } = globalThis.app
const response = await handler.fetch(new Request('http://x/'))
const { stack } = await (async () => handler.fetch(new Request('http://x/throws')))().catch((error) => error)
console.log(JSON.stringify({ answer: await response.text(), same: imported === Topic, url, stack }))
process.exit()`

describe.each(VERSIONS)('On Node %s', (version) => {
  let node: string
  const projects = new Map<ProjectType, AppProject>()

  beforeAll(() => {
    const found = nodeOf(version)
    if (found === undefined) throw new Error(`Node ${version} cannot be installed`)
    node = found
    for (const type of PROJECT_TYPES) projects.set(type, new AppProject(type))
  }, INSTALL_TIMEOUT)

  afterAll(async () => {
    for (const project of projects.values()) await project[Symbol.asyncDispose]()
  })

  for (const type of PROJECT_TYPES) {
    it.each(APP_FILES)(`an app.$ending with $syntax loads in a project of type ${type}`, async (file) => {
      const project = projects.get(type)
      if (project === undefined) throw new Error('there is no such project')
      const code = appCode(file)
      // tsx prefers `a.tsx` to `a.jsx`, where both are.
      const name = `${file.syntax.replace(' =', '')}-${file.ending}.${file.ending}`
      const path = join(project.directory, name)
      project.write(name, code)
      const args = ['--input-type=module', '--eval', SCRIPT, path]
      const { stdout } = await promisify(execFile)(node, args, { cwd: project.directory })
      const { answer, same, url, stack } = JSON.parse(stdout)
      expect(answer).toBe(ANSWER)
      // It has the classes and the state of the package that serves it.
      expect(same).toBe(true)
      expect(url).toBe(pathToFileURL(path).href)
      const line = code.split('\n').findIndex((text) => text.includes("'thrown'")) + 1
      expect(stack).toContain(`${path}:${line}:`)
    })
  }
})
