// The broker code that vidflow replaces, for the tests and the rehearsal of docs/take-over.md: what the old API server does
// with Kafka, by KafkaJS, with its defaults, its groups and its habit of logging an error and going on.
//
//   node old.js consume        consumes both topics of results until SIGINT or SIGTERM
//   node old.js create [N]     creates N videos, as POST /api/courses/{courseId}/videos of the old server does
//
// What it does is a line of JSON each: a count of them is a count of what was handled.

import { readFileSync } from 'node:fs'
import { Kafka } from 'kafkajs'
import pg from 'pg'

const env = (name, otherwise) => process.env[name] || otherwise
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const topics = {
  ask: env('KAFKA_PRODUCE_TOPIC', 'Transcribe'),
  transcribed: env('KAFKA_CONSUME_TOPIC', 'update_transcribe'),
  compressed: env('KAFKA_COMPRESSION_TOPIC', 'finish_compress'),
}

function ssl() {
  if (env('KAFKA_SSL', 'true') === 'false') return false
  const ca = env('KAFKA_SSL_CA_FILE')
  return {
    rejectUnauthorized: env('KAFKA_SSL_REJECT_UNAUTHORIZED', 'true') !== 'false',
    ...(ca ? { ca: [readFileSync(ca, 'utf8')] } : {}),
  }
}

const username = env('KAFKA_USERNAME')
const kafka = new Kafka({
  clientId: env('KAFKA_CLIENT_ID', 'codeendelea-api-server'),
  brokers: env('KAFKA_BROKERS').split(','),
  ssl: ssl(),
  sasl: username && { mechanism: env('KAFKA_SASL_MECHANISM', 'scram-sha-256'), username, password: env('KAFKA_PASSWORD') },
  connectionTimeout: Number(env('KAFKA_CONNECTION_TIMEOUT', '10000')),
  requestTimeout: Number(env('KAFKA_REQUEST_TIMEOUT', '30000')),
  retry: { retries: Number(env('KAFKA_RETRIES', '8')), initialRetryTime: Number(env('KAFKA_INITIAL_RETRY_TIME', '100')) },
})
const database = new pg.Pool({ max: 4 }) // by PGHOST, PGUSER, …

async function transcribed(message) {
  const result = JSON.parse(message.value.toString())
  const url = `${env('SUPABASE_URL')}/storage/v1/object`
  const path = `captions/videos/${result.video_id}.json`
  const answer = await fetch(`${url}/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${env('SUPABASE_SERVICE_KEY')}`, 'content-type': 'application/json', 'x-upsert': 'true' },
    body: JSON.stringify(result, null, 2),
  })
  if (!answer.ok) throw new Error(`storage answers ${answer.status}: ${await answer.text()}`)
  await database.query('update public.videos set transcript_url = $1 where id = $2', [`${url}/public/${path}`, result.video_id])
}

async function compressed(message) {
  const text = message.value.toString()
  const url = text.startsWith('{') ? JSON.parse(text).cloudUrl : text
  await database.query('update public.videos set camera_video_url = $1 where id = $2', [url, message.key.toString()])
}

async function consume(topic, groupId, handle) {
  const consumer = kafka.consumer({ groupId })
  consumer.on(consumer.events.GROUP_JOIN, (e) => say({ event: 'joined', groupId, member: e.payload.memberId }))
  consumer.on(consumer.events.CRASH, (e) => say({ event: 'crashed', groupId, error: e.payload.error.message, restart: e.payload.restart }))
  consumer.on(consumer.events.COMMIT_OFFSETS, (e) => {
    for (const t of e.payload.topics) {
      for (const p of t.partitions) say({ event: 'committed', topic: t.topic, partition: Number(p.partition), offset: Number(p.offset) })
    }
  })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      let error
      try {
        await handle(message)
      } catch (e) {
        error = String(e) // and the record is lost
      }
      say({ event: 'handled', topic, partition, offset: Number(message.offset), error })
    },
  })
  return consumer
}

async function create(count) {
  const producer = kafka.producer()
  await producer.connect()
  for (let n = 1; n <= count; n++) {
    const title = `Of the old server, ${n} [10s]`
    const camera = `https://example.test/old-${n}.mp4`
    const course = env('VIDFLOW_COURSE')
    const { rows } = await database.query(
      'insert into public.videos (course_id, title, description, camera_video_url) values ($1, $2, $3, $4) returning id',
      [course, title, 'A video of the old server.', camera],
    )
    const id = rows[0].id
    await producer.send({
      topic: topics.ask,
      messages: [{
        key: id,
        value: JSON.stringify({ video_id: id, video_url: camera, metadata: { title, courseId: course } }),
        headers: { 'content-type': 'application/json', timestamp: String(Date.now()) },
      }],
    })
    say({ event: 'created', id })
  }
  await producer.disconnect()
  await database.end()
}

const [command, count] = process.argv.slice(2)
switch (command) {
  case 'consume': {
    const consumers = await Promise.all([
      consume(topics.transcribed, env('KAFKA_TRANSCRIPTION_GROUP', 'codeendelea-transcription-consumer'), transcribed),
      consume(topics.compressed, env('KAFKA_COMPRESSION_GROUP', 'codeendelea-compression-consumer'), compressed),
    ])
    // The old server goes on serving HTTP when its consumers have given up.
    setInterval(() => {}, 60_000)
    const stop = async () => {
      await Promise.all(consumers.map((c) => c.disconnect()))
      await database.end()
      process.exit(0)
    }
    process.once('SIGINT', stop).once('SIGTERM', stop)
    break
  }
  case 'create':
    await create(Number(count ?? '1'))
    break
  default:
    console.error('node old.js consume | create [N]')
    process.exit(2)
}
