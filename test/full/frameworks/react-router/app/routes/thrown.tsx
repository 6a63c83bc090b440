export function loader() {
  throw new Response('a teapot', { status: 418 })
}

export default function Thrown() {
  return null
}
