import { connect } from './connection.js'

const STATES = { connecting: 'Connecting …', connected: 'Connected', waiting: 'No connection, trying again …' }

const find = (selector) => document.querySelector(selector)
const entrance = find('#entrance')
const speak = find('#speak')
const list = find('#messages')

/** Who this page is for the server, which tells nobody. */
const client = createId()
/** Leaves the room that the page shows. */
let leave = () => {}

entrance.elements.name.value = localStorage.getItem('name') ?? ''
entrance.addEventListener('submit', (event) => {
  event.preventDefault()
  localStorage.setItem('name', entrance.elements.name.value.trim())
  // The room is in the address: it can be passed on.
  history.pushState(null, '', `#${encodeURIComponent(entrance.elements.room.value.trim())}`)
  go()
})
find('#leave').addEventListener('click', () => {
  location.hash = ''
})
addEventListener('hashchange', () => go())
go()

/** Shows what the address says: a room, or the entrance, with the reason why one is there again. */
function go(reason = '') {
  leave()
  leave = () => {}
  const room = roomOf(location.hash)
  const name = localStorage.getItem('name') ?? ''
  const isIn = room !== '' && name !== '' && reason === ''
  entrance.hidden = isIn
  find('#room').hidden = !isIn
  find('#refusal').textContent = reason
  if (room !== '') entrance.elements.room.value = room
  if (isIn) leave = enter(room, name)
  else void showRooms()
}

function roomOf(hash) {
  try {
    return decodeURIComponent(hash.slice(1)).trim()
  } catch {
    return ''
  }
}

async function showRooms() {
  const rooms = await (await fetch('rooms')).json()
  find('#rooms').replaceChildren(
    ...rooms.map(({ name, people }) => create('option', { value: name, textContent: `${people} there` })),
  )
}

/** Enters a room; returns how to leave it. */
function enter(room, name) {
  /** The ids of what is shown. */
  const shown = new Set()
  let last
  /** What was said here and not heard from the server yet: its items by their ids. */
  const pending = new Map()

  find('#name').textContent = room
  document.title = `${room} – Chat`
  list.replaceChildren()
  showPeople([])

  const connection = connect(
    () => {
      const url = new URL(`rooms/${encodeURIComponent(room)}`, document.baseURI)
      url.protocol = url.protocol.replace('http', 'ws')
      url.hash = ''
      url.search = new URLSearchParams({ client, name, ...(last && { since: last }) })
      return url
    },
    ({ type, ...said }) => receivers[type]?.(said),
    (state, reason) => {
      if (state === 'refused') return go(reason)
      find('#state').dataset.state = state
      find('#state').textContent = STATES[state]
    },
  )

  const receivers = {
    welcome({ continued, messages, people }) {
      if (!continued && last !== undefined)
        show(create('li', { className: 'gap', textContent: 'Something may be missing here.' }))
      for (const message of messages) receivers.message(message)
      showPeople(people)
      for (const [id, { text }] of pending) connection.send({ id, text })
    },
    people: ({ people }) => showPeople(people),
    message(message) {
      last = message.id
      if (shown.has(message.id)) return
      shown.add(message.id)
      pending.get(message.id)?.item.remove()
      pending.delete(message.id)
      show(createItem(message))
      // What is not said yet stays last.
      for (const { item } of pending.values()) show(item)
    },
  }

  function say(event) {
    event.preventDefault()
    const message = { id: createId(), name, text: speak.elements.text.value }
    if (message.text.trim() === '') return
    speak.reset()
    const item = createItem(message)
    item.classList.add('pending')
    pending.set(message.id, { item, text: message.text })
    show(item)
    connection.send({ id: message.id, text: message.text })
  }

  speak.addEventListener('submit', say)
  speak.elements.text.focus()
  return () => {
    speak.removeEventListener('submit', say)
    connection.close()
    document.title = 'Chat'
  }
}

function showPeople(people) {
  find('#people').replaceChildren(
    ...people.map((name) => {
      const item = create('li', { textContent: name })
      item.style.setProperty('--hue', hueOf(name))
      return item
    }),
  )
}

/** Adds an item at the end, and stays there if the reader is. */
function show(item) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40
  list.append(item)
  if (atEnd || item.classList.contains('pending')) list.scrollTop = list.scrollHeight
}

/** Whatever others have written is text here, never HTML. */
function createItem({ name, text, time }) {
  const item = create('li')
  item.style.setProperty('--hue', hueOf(name))
  item.append(create('b', { textContent: name }))
  if (time !== undefined) {
    const at = new Date(time)
    item.append(
      create('time', { dateTime: at.toISOString(), textContent: at.toLocaleTimeString([], { timeStyle: 'short' }) }),
    )
  }
  item.append(create('p', { textContent: text }))
  return item
}

function create(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties)
}

function hueOf(name) {
  let hash = 0
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 360
  return hash
}

/** A name that nobody else has. (`crypto.randomUUID` is for https only.) */
function createId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
