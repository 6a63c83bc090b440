import { digest } from '../../../steps.ts'

export function loader() {
  return Response.json({ resource: true })
}

export async function action({ request }: { request: Request }) {
  return Response.json(await digest(await request.arrayBuffer()))
}
