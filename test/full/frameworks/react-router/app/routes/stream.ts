import { endlessSteps, linesOf, steps } from '../../../steps.ts'

export function loader({ request }: { request: Request }) {
  const source = new URL(request.url).searchParams.has('endless') ? endlessSteps() : steps()
  return new Response(linesOf(source), { headers: { 'content-type': 'text/plain' } })
}
