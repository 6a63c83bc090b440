import { json } from '@sveltejs/kit'
import { digest } from '../../../../steps.ts'

export function GET() {
  return json({ endpoint: true })
}

export async function POST({ request }) {
  return json(await digest(await request.arrayBuffer()))
}
