import { execFileSync } from 'node:child_process'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { AppProject } from '../support/app-project.ts'

const CHROMIUM = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
const APP = `import { Hono } from 'hono'

const users = new Map([[1, { name: 'Ada' }]])

function nameOf(id: number): string {
  const user = users.get(id)
  if (user === undefined) throw new Error(\`there is no user \${id}\`)
  return user.name
}

const app = new Hono()

app.get('/users/:id', (c) => {
  return c.text(nameOf(Number(c.req.param('id'))))
})

export default app
`

let browser: Browser

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 })
})

afterAll(async () => {
  await browser.close()
})

it('A page of dev shows an error in the code, and reloads itself when the next version works', async () => {
  await using place = new AppProject('module')
  place.write('app.ts', APP)
  const run = place.run(['dev', 'app.ts', '--port', '0'], { TMPDIR: place.directory })
  const [, url = ''] = await run.prints(/at (http\S+) through Mongrel2/)
  const page = await browser.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(String(error)))
  await page.goto(`${url}users/2`)
  const heading = page.getByRole('heading', { level: 1 })
  expect(await heading.textContent()).toBe('Error: there is no user 2')
  // The innermost place is unfolded, its caller and the libraries are folded.
  expect(await page.locator('.here').first().innerText()).toContain('throw new Error')
  const folded = page.locator('details').nth(1)
  expect(await folded.locator('summary').textContent()).toMatch(/^app\.ts:14/)
  expect(await folded.locator('pre').isVisible()).toBe(false)
  expect(await page.getByText('hono-base.js').isVisible()).toBe(false)
  // With SCREENSHOT set, the picture of the documentation is made anew.
  const { SCREENSHOT } = process.env
  if (SCREENSHOT !== undefined) {
    await page.setViewportSize({ width: 900, height: 560 })
    await page.screenshot({ path: SCREENSHOT })
  }

  place.write('app.ts', APP.replace('export default', 'export default ('))
  await run.prints(/could not be loaded/)
  place.write('app.ts', APP.replace('[1, {', '[2, {'))
  await page.getByText('Ada', { exact: true }).waitFor()

  // A page of an app that does not load comes back in the same way.
  place.write('app.ts', APP.replace('export default', 'export default ('))
  await expect
    .poll(async () => {
      await page.reload()
      return await page.locator('h1').count()
    })
    .toBe(1)
  expect(await heading.textContent()).toMatch(/^SyntaxError: /)
  place.write('app.ts', APP.replace('[1, {', '[2, {'))
  await page.getByText('Ada', { exact: true }).waitFor()
  expect(faults).toEqual([])
})
