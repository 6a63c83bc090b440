import { steps } from '../../../../steps.ts'

export function load() {
  const source = steps(2)
  const first = source.next().then(({ value }) => value)
  const second = first.then(() => source.next()).then(({ value }) => value)
  second.then(() => source.next()) // reports the end
  return { first, second }
}
