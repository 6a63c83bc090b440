import { digest } from '../../../steps.ts'

export function load({ url, setHeaders, cookies }) {
  setHeaders({ 'x-load': 'yes' })
  cookies.set('crumb', 'a', { path: '/', secure: false })
  return { name: url.searchParams.get('name') }
}

export const actions = {
  upload: async ({ request }) => {
    const form = await request.formData()
    return { title: form.get('title'), file: await digest(form.get('file')) }
  },
}
