// Accounts and sessions, in memory: a database would take the place of the two maps. For the public network one thing is missing, a limit
// of attempts for each address, which a proxy in front can set (nginx: limit_req).

import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt)
/** What OWASP recommends for scrypt. Each takes 32 MiB; Node's thread pool runs four at once, and the others wait. */
const COST = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 }
const MOST_ACCOUNTS = 1000
const LONGEST_PASSWORD = 200
export const SESSION_SECONDS = 7 * 24 * 3600

interface Password {
  readonly salt: Buffer
  readonly hash: Buffer
}

const passwords = new Map<string, Password>()
const sessions = new Map<string, { name: string; expires: number }>()

/** Checked when there is no account of a name, so that the time of the answer does not tell which names exist. */
const NOBODY = await hash(randomBytes(16).toString('hex'))

/** Makes an account; returns what is wrong, if anything is. */
export async function signUp(name: string, password: string): Promise<string | undefined> {
  if (!/^[\p{L}\p{N}_.-]{1,30}$/u.test(name)) return 'A name has 1 to 30 letters, digits, dots and dashes.'
  if (password.length < 8 || password.length > LONGEST_PASSWORD)
    return `A password has 8 to ${LONGEST_PASSWORD} characters.`
  if (passwords.size >= MOST_ACCOUNTS) return 'There are too many accounts.'
  const hashed = await hash(password)
  // Looked up after the wait: another request may have taken the name meanwhile.
  if (passwords.has(name)) return 'This name is taken.'
  passwords.set(name, hashed)
  return undefined
}

/** Whether there is such an account with this password. */
export async function isPassword(name: string, password: string): Promise<boolean> {
  const known = passwords.get(name)
  const { salt, hash: expected } = known ?? NOBODY
  const { hash: actual } = await hash(password.slice(0, LONGEST_PASSWORD), salt)
  return timingSafeEqual(actual, expected) && known !== undefined
}

/** Starts a session; returns its id, which is a secret between browser and server. */
export function openSession(name: string): string {
  const now = Date.now()
  for (const [id, { expires }] of sessions) if (expires < now) sessions.delete(id)
  const id = randomBytes(32).toString('base64url')
  sessions.set(id, { name, expires: now + SESSION_SECONDS * 1000 })
  return id
}

/** Whose session it is. */
export function nameOf(id: string): string | undefined {
  const session = sessions.get(id)
  return session !== undefined && session.expires > Date.now() ? session.name : undefined
}

export function closeSession(id: string): void {
  sessions.delete(id)
}

async function hash(password: string, salt: Buffer = randomBytes(16)): Promise<Password> {
  return { salt, hash: await derive(password, salt, 32, COST) }
}
