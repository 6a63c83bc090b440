import { execFileSync } from 'node:child_process'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type CommandRun, Workplace } from '../support/command.ts'
import { freePort } from '../support/free-port.ts'
import { type Mongrel2, startMongrel2 } from '../support/mongrel2.ts'

const CHROMIUM = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
const TOKEN = 'a-token-of-some-length'
const APP = `export default ({ url }) => {
  if (url.endsWith('/fail')) throw new Error('it fails <b>boldly</b>')
  return new Response('Hello', { status: url.endsWith('/missing') ? 404 : 200 })
}`

/** The lowest contrast (WCAG 2) of a text of the page with the background behind it. */
const LOWEST_CONTRAST = `(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number)
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).map((value) => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    const { backgroundColor } = getComputedStyle(element)
    return channels(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor
  }
  let lowest = 21
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const { parentElement, textContent } = texts.currentNode
    if (textContent.trim() === '' || parentElement.getClientRects().length === 0) continue
    const [dark, light] = [getComputedStyle(parentElement).color, behind(parentElement)].map(luminance).sort((a, b) => a - b)
    lowest = Math.min(lowest, (light + 0.05) / (dark + 0.05))
  }
  return lowest
})()`

let browser: Browser
let mongrel2: Mongrel2
let place: Workplace
let port: number

beforeAll(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, chromiumSandbox: process.getuid?.() !== 0 })
})

afterAll(async () => {
  await browser.close()
})

beforeEach(async () => {
  mongrel2 = await startMongrel2()
  place = new Workplace({ 'app.js': APP, token: TOKEN })
  port = await freePort()
})

afterEach(async () => {
  await place[Symbol.asyncDispose]()
  await mongrel2.stop()
})

async function serve(...args: string[]): Promise<CommandRun> {
  const admin = ['--admin', `127.0.0.1:${port}`, '--admin-token-file', 'token']
  const run = place.run(['serve', 'app.js', '--zeromq', mongrel2.endpoint, ...admin, ...args])
  await run.prints(/^mongrel2-fetch serves/m)
  return run
}

/** Opens the page; `faults` gets what the browser complains of, such as a violated policy. */
async function open(options: BrowserContextOptions = {}): Promise<{ page: Page; faults: string[] }> {
  const context = await browser.newContext({ httpCredentials: { username: '', password: TOKEN }, ...options })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  page.on('pageerror', (error) => faults.push(String(error)))
  await page.goto(`http://127.0.0.1:${port}/`)
  return { page, faults }
}

async function ask(path: string, times: number): Promise<void> {
  for (let n = 0; n < times; n++) await (await fetch(`http://127.0.0.1:${mongrel2.port}${path}`)).text()
}

it('The page shows what happens, reloads the app, says when the server is away, and comes back by itself', async () => {
  const first = await serve('-p', '2')
  const { page, faults } = await open()
  const state = page.getByRole('status').first()
  await state.filter({ hasText: 'Ready' }).waitFor()
  await ask('/', 20)
  await ask('/missing', 2)
  await ask('/fail', 1)
  const count = (name: string) =>
    page.locator('#counts div', { has: page.getByText(name, { exact: true }) }).locator('dd')
  await expect.poll(() => count('Requests').textContent()).toBe('23')
  for (const name of ['Requests a second', 'Latency', 'Open requests']) {
    const chart = page.getByRole('region', { name }).getByRole('img')
    await expect.poll(() => chart.locator('path').first().getAttribute('d')).toMatch(/^M.*L/)
    expect(await chart.getAttribute('aria-label')).toContain('Now: ')
  }
  const warning = page.locator('#warnings li').first()
  await expect.poll(() => warning.textContent()).toContain('it fails <b>boldly</b>')
  expect(await page.locator('#warnings b:not(.error, .warn)').count()).toBe(0)
  await warning.locator('summary').click()
  expect(await warning.locator('pre').textContent()).toContain('app.js')

  const workers = page.getByRole('region', { name: 'Workers' }).locator('tbody tr')
  await expect.poll(() => workers.count()).toBe(2)
  const before = await workers.locator('td:first-child').allTextContents()
  await page.evaluate(() => Object.assign(globalThis, { sameDocument: true }))
  await page.getByRole('button', { name: 'Reload the app' }).press('Enter')
  await page.getByText('The workers are replaced.').waitFor()
  await expect.poll(() => workers.count()).toBe(2)
  for (const pid of await workers.locator('td:first-child').allTextContents()) expect(before).not.toContain(pid)
  expect(await state.textContent()).toBe('Ready')

  await mongrel2.kill()
  await state.filter({ hasText: 'Not ready' }).waitFor()
  await page.getByText('no Mongrel2 at').waitFor()
  await mongrel2.restart()
  await state.filter({ hasText: /^Ready$/ }).waitFor()

  expect(faults).toEqual([])
  first.signal('SIGTERM')
  await first.ended
  await state.filter({ hasText: 'No connection' }).waitFor()
  await serve()
  await state.filter({ hasText: /^Ready$/ }).waitFor()
  // One process has no workers, and is not reloaded.
  await page.getByRole('region', { name: 'Workers' }).waitFor({ state: 'hidden' })
  await page.getByRole('button', { name: 'Reload the app' }).waitFor({ state: 'hidden' })
  expect(await page.evaluate(() => 'sameDocument' in globalThis)).toBe(true)
})

it.each([
  ['light', 320],
  ['dark', 320],
  ['light', 1200],
  ['dark', 1200],
] as const)(
  'In %s colours it fits %d pixels, its texts are readable, and the keyboard reaches what can be used',
  async (colorScheme, width) => {
    await serve('-p', '2')
    await ask('/', 5)
    await ask('/fail', 1)
    const { page, faults } = await open({ colorScheme, viewport: { width, height: 800 } })
    await page.getByText('it fails').first().waitFor()
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
    expect(await page.evaluate(LOWEST_CONTRAST)).toBeGreaterThanOrEqual(4.5)
    const reached: string[] = []
    for (let n = 0; n < 2; n++) {
      await page.keyboard.press('Tab')
      reached.push(await page.evaluate<string>('document.activeElement.id || document.activeElement.tagName'))
    }
    expect(reached).toEqual(['reload', 'SUMMARY'])
    expect(faults).toEqual([])
  },
)

it('Without the token the browser gets nothing', async () => {
  await serve('-p', '1')
  const context = await browser.newContext()
  const page = await context.newPage()
  const answer = await page.goto(`http://127.0.0.1:${port}/`).catch((error: Error) => error.message)
  // Chromium asks for a password, which nobody gives here.
  if (typeof answer === 'string') expect(answer).toContain('ERR_INVALID_AUTH_CREDENTIALS')
  else expect(answer?.status()).toBe(401)
  expect(await page.locator('#state').count()).toBe(0)
})
