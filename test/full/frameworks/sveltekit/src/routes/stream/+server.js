import { endlessSteps, linesOf, steps } from '../../../../steps.ts'

export function GET({ url }) {
  const source = url.searchParams.has('endless') ? endlessSteps() : steps()
  return new Response(linesOf(source), { headers: { 'content-type': 'text/plain' } })
}
