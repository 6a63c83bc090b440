import { lazy } from '../runtime/process/lazy.ts'
import { lightResponse } from './light-response.ts'
import { lightRequestsPass, type RequestSource, sourceOfRequest, sourcesOfCopies, unwrapRequest } from './request.ts'
import { platform, replaceProperty, unwrapMembers } from './stand-in.ts'

/** What replaces the globals. `instanceof` with these classes holds for all of the platform's instances. */
const replacements = lazy(() => {
  /** The platform's Request, whose constructor also takes light ones. */
  class ReplacedRequest extends platform.Request {
    constructor(input: string | URL | Request, init?: RequestInit) {
      super(unwrapRequest(input), init)
      // Frameworks change the URL by `new Request(url, request)`.
      const source = sourceOf(input) ?? sourceOf(init)
      if (source !== undefined) sourcesOfCopies.set(this, source)
    }
  }
  Object.defineProperty(ReplacedRequest, 'name', { value: 'Request' })
  const Response = lightResponse()
  recognise(ReplacedRequest, platform.Request)
  recognise(Response, platform.Response)
  return { Request: ReplacedRequest, Response, fetch: replacedFetch }
})

let users = 0
let previousFetch = globalThis.fetch
let restorers: (() => void)[] = []
let replacedFirst = false

/** Replaces the global Request, Response and fetch by ones that make and take light objects, until as many calls of `restoreGlobals`. */
export function replaceGlobals(): void {
  if (users++ > 0) return
  previousFetch = globalThis.fetch
  restorers = Object.entries(replacements()).map(([name, value]) =>
    replaceProperty(globalThis, name, { value, configurable: true, writable: true }),
  )
  if (lightRequestsPass()) return // the platform's own members then know light objects
  restorers.push(
    ...unwrapMembers(platform.Request.prototype, unwrapRequest),
    ...unwrapMembers(platform.Response.prototype, (value) => lightResponse().realOf(value as Response)),
  )
}

/** Replaces the globals for good, before an app is loaded that could keep the platform's classes or `fetch`. */
export function replaceGlobalsFirst(): void {
  replaceGlobals()
  replacedFirst = true
}

/**
 * Whether everything that may get a request takes light ones. The platform's constructor and `fetch` do so on some versions of Node only, and an
 * app that was loaded before the globals were replaced may have kept or extended them.
 */
export function lightRequestsAreKnown(): boolean {
  return replacedFirst || lightRequestsPass()
}

/** Puts the globals back, except for those that other code has replaced meanwhile. */
export function restoreGlobals(): void {
  if (--users > 0) return
  for (const restore of restorers.splice(0)) restore()
}

function sourceOf(value: unknown): RequestSource | undefined {
  return typeof value === 'object' && value !== null
    ? (sourceOfRequest(value) ?? sourcesOfCopies.get(value))
    : undefined
}

function replacedFetch(...[input, init]: Parameters<typeof fetch>): ReturnType<typeof fetch> {
  return previousFetch(unwrapRequest(input), init)
}

/** Makes `instanceof` with a replacement hold for all of the platform's instances; with its subclasses it works as ever. */
function recognise(replacement: object, platform: { readonly prototype: object }): void {
  Object.defineProperty(replacement, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== replacement) return Function.prototype[Symbol.hasInstance].call(this as typeof Function, value)
      return (
        typeof value === 'object' && value !== null && Object.prototype.isPrototypeOf.call(platform.prototype, value)
      )
    },
    configurable: true,
  })
}
