/**
 * Has a platform's methods and getters take light objects as `this`: `Request.prototype.clone.call(request)` calls one for an object that it
 * did not make.
 *
 * @param prototype The platform's, whose members are replaced.
 * @param unwrap Gives the real object behind a light one, any other value as it is.
 * @returns A function that puts the members back, but for those that somebody else has replaced meanwhile.
 */
export function unwrapMembers(prototype: object, unwrap: (value: unknown) => unknown): () => void {
  const undo: (() => void)[] = []
  for (const [name, before] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
    const { get, value } = before
    if (name === 'constructor' || typeof (get ?? value) !== 'function') continue
    const replaced: PropertyDescriptor =
      get === undefined ? { ...before, value: unwrapping(value) } : { ...before, get: unwrapping(get) }
    Object.defineProperty(prototype, name, replaced)
    undo.push(() => {
      const now = Object.getOwnPropertyDescriptor(prototype, name)
      if (now?.get === replaced.get && now?.value === replaced.value) Object.defineProperty(prototype, name, before)
    })
  }
  return () => {
    for (const putBack of undo) putBack()
  }

  function unwrapping<Parameters extends unknown[], Result>(
    member: (...parameters: Parameters) => Result,
  ): (...parameters: Parameters) => Result {
    const { name, length } = member
    const wrapper = function (this: unknown, ...parameters: Parameters): Result {
      return Reflect.apply(member, unwrap(this), parameters)
    }
    return Object.defineProperties(wrapper, { name: { value: name }, length: { value: length } })
  }
}
