import { Suspense } from 'react'
import { Await } from 'react-router'
import { steps } from '../../../steps.ts'

export function loader() {
  const source = steps(2)
  const first = source.next().then(({ value }) => value)
  const second = first.then(() => source.next()).then(({ value }) => value)
  second.then(() => source.next()) // reports the end
  return { first, second }
}

export default function Late({ loaderData }: { loaderData: Record<'first' | 'second', Promise<string>> }) {
  return (
    <Suspense fallback={<p>waiting</p>}>
      <Await resolve={loaderData.first}>{(step) => <p>{step}</p>}</Await>
      <Suspense fallback={<p>waiting again</p>}>
        <Await resolve={loaderData.second}>{(step) => <p>{step}</p>}</Await>
      </Suspense>
    </Suspense>
  )
}
