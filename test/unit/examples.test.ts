import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** The examples' files by their names, as `npm start` has them. */
const EXAMPLES = readdirSync('examples', { withFileTypes: true })
  .map((entry): [string, string] =>
    entry.isDirectory() ? [entry.name, `${entry.name}/server.ts`] : [entry.name.replace(/\.ts$/, ''), entry.name],
  )
  .filter(([, file]) => file.endsWith('.ts'))

const README = readFileSync('examples/README.md', 'utf8')

describe('The examples', () => {
  it.each(EXAMPLES)('%s says first what it shows, how it is started and what to look at', (name, file) => {
    const comment = /^(\/\/.*\n)+/.exec(readFileSync(`examples/${file}`, 'utf8'))?.[0]
    const [, , byName, byHand] =
      /^\/\/ (.+\n)+?\/\/ Start: npm start -- ([\w-]+)[\s\S]*(npx tsx \S+)\n[\s\S]*\/\/ Look at: ./.exec(
        comment ?? '',
      ) ?? []
    expect([byName, byHand]).toEqual([name, `npx tsx examples/${file}`])
  })

  it('are the ones that their README lists', () => {
    const rows = Array.from(README.matchAll(/^\| \[(\S+)\]\((\S+)\) \|.*`npm start -- (\S+)`/gm), (row) => row.slice(1))
    const expected = EXAMPLES.map(([name, file]) => [name, file.replace('/server.ts', ''), name])
    expect(rows.sort()).toEqual(expected.sort())
  })

  it('with a mongrel2.conf of their own connect to its Handler', () => {
    const own = ['bbs', 'json-chat', 'nginx']
    const found = EXAMPLES.filter(([, file]) => file.includes('/')).filter(([name]) =>
      readdirSync(`examples/${name}`).includes('mongrel2.conf'),
    )
    expect(found.map(([name]) => name)).toEqual(own)
    for (const name of own) {
      const [, sendSpec, recvSpec] =
        /'(tcp:[^',]+),(tcp:[^']+)'/.exec(readFileSync(`examples/${name}/server.ts`, 'utf8')) ?? []
      const conf = readFileSync(`examples/${name}/mongrel2.conf`, 'utf8')
      expect(conf).toMatch(new RegExp(`send_spec='${sendSpec}',[^)]*recv_spec='${recvSpec}',`))
    }
  })
})
