const form = document.querySelector('#upload')
const list = document.querySelector('#files')

form?.addEventListener('submit', (event) => {
  // Without this script the browser sends the form itself, and there is no progress bar.
  event.preventDefault()
  const progress = form.querySelector('progress')
  const output = form.querySelector('output')
  // fetch() does not tell how much it has sent; XMLHttpRequest does.
  const request = new XMLHttpRequest()
  request.upload.addEventListener('progress', ({ loaded, total }) => {
    progress.max = total
    progress.value = loaded
  })
  request.addEventListener('load', () => {
    output.textContent = request.status === 200 ? 'Shared.' : `The server answered ${request.status}.`
  })
  request.addEventListener('error', () => {
    output.textContent = 'The connection was lost, or the file is too large.'
  })
  request.open(form.method, form.action)
  output.textContent = 'Uploading …'
  request.send(new FormData(form))
})

if (list !== null) {
  const events = new EventSource('/events')
  // The server has escaped what others wrote.
  events.addEventListener('files', ({ data }) => {
    list.innerHTML = data
  })
  // Something may have happened while there was no connection. The browser comes back by itself.
  events.addEventListener('open', async () => {
    const response = await fetch('/list')
    if (response.ok) list.innerHTML = await response.text()
    else location.reload()
  })
}
