import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { Hono } from 'hono'
import { type Exchanges, json } from './exchange.ts'

const auth = betterAuth({
  baseURL: 'http://localhost',
  secret: 'a secret of the test, long enough to be one',
  trustedOrigins: ['http://localhost'],
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  emailAndPassword: { enabled: true },
  telemetry: { enabled: false },
  logger: { disabled: true },
  advanced: { ipAddress: { ipAddressHeaders: ['x-client'] } },
  rateLimit: { enabled: true, window: 60, max: 100, customRules: { '/sign-in/email': { window: 60, max: 2 } } },
})

const app = new Hono()
app.on(['GET', 'POST'], '/api/auth/*', (c) => auth.handler(c.req.raw))
app.get('/me', async (c) => {
  const session = await auth.api.getSession({ headers: c.req.raw.headers })
  return session === null ? c.text('nobody', 401) : c.json({ email: session.user.email })
})

export default app

const account = { email: 'm@a.example', password: 'correct horse battery', name: 'Mongrel' }
const origin = { origin: 'http://localhost', 'x-client': '203.0.113.7' }
const volatile = [
  /(?<="(?:id|token|userId|createdAt|updatedAt|expiresAt)":")[^"]+/g,
  /(?<=session_token=|session_data=)[^;]+/g,
]

export const exchanges: Exchanges = {
  'nobody is signed in': { path: '/me' },
  'no session': { path: '/api/auth/get-session' },
  'sign up': json('/api/auth/sign-up/email', account, { headers: origin, volatile }),
  'sign up twice': json('/api/auth/sign-up/email', account, { headers: origin, volatile }),
  'signed in': { path: '/me' },
  session: { path: '/api/auth/get-session', volatile },
  'sign out': json('/api/auth/sign-out', {}, { headers: origin, volatile }),
  'signed out': { path: '/me' },
  'wrong password': json('/api/auth/sign-in/email', { ...account, password: 'wrong password' }, { headers: origin }),
  'sign in': json('/api/auth/sign-in/email', account, { headers: origin, volatile }),
  'signed in again': { path: '/me' },
  'foreign origin': json('/api/auth/sign-out', {}, { headers: { origin: 'http://evil.example' } }),
  'rate limit': json('/api/auth/sign-in/email', account, { headers: origin, volatile: [/(?<=x-retry-after: )\d+/g] }),
  'not found': { path: '/api/auth/nowhere' },
}
