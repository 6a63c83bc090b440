import { data, Form } from 'react-router'
import { digest } from '../../../steps.ts'

export function loader({ request }: { request: Request }) {
  const name = new URL(request.url).searchParams.get('name')
  return data({ name }, { headers: { 'x-loader': 'yes', 'set-cookie': 'loader=a; Path=/' } })
}

export function headers({ loaderHeaders }: { loaderHeaders: Headers }) {
  return loaderHeaders
}

export async function action({ request }: { request: Request }) {
  const form = await request.formData()
  const file = form.get('file')
  return { title: form.get('title'), file: file instanceof Blob ? await digest(file) : null }
}

export default function Home({ loaderData, actionData }: { loaderData: { name: string | null }; actionData?: object }) {
  return (
    <Form method="post" encType="multipart/form-data">
      <h1>Hello {loaderData.name}</h1>
      <p>{JSON.stringify(actionData)}</p>
    </Form>
  )
}
