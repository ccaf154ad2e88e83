// A walk through vidflow's API with the types that openapi.json gives: an example for front ends, and the proof that the
// document is good enough to generate a client from. It makes a video, follows it to its captions and deletes it.
//
//   VIDFLOW_URL=http://127.0.0.1:8000 VIDFLOW_TOKEN=… VIDFLOW_COURSE=… npm run walk
import assert from "node:assert/strict"

// Browsers have an EventSource of their own, which sends the cookie; this one can send a token.
import { EventSource } from "eventsource"
import createClient from "openapi-fetch"

import type { components, operations, paths } from "./vidflow.js"

type Video = components["schemas"]["VideoView"]

const url = required("VIDFLOW_URL")
const token = required("VIDFLOW_TOKEN")
const courseId = required("VIDFLOW_COURSE")

const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } })

let videoId = ""

// An operation that openapi.json has and this does not, or the other way round, is an error of the compiler's.
const walk: { [operation in keyof operations]: () => Promise<void> } = {
  health: async () => {
    assert.equal(must(await client.GET("/api/health")).status, "ok")
  },

  "create-video": async () => {
    const { data, error } = await client.POST("/api/courses/{courseId}/videos", {
      params: { path: { courseId }, header: { "Idempotency-Key": crypto.randomUUID() } },
      body: {
        title: "Graphs, part 1",
        description: "Paths, cycles and trees.",
        camera_video_url: "https://example.test/lectures/graphs-1.mp4",
        level: "beginner",
      },
    })
    if (error) throw new Error(`${error.code}: ${error.detail}`) // a problem document, typed
    videoId = data.data.id
  },

  "video-events": async () => {
    const states = follow(`/api/videos/${videoId}/events`)
    const video = await states.until((video) => video.id === videoId)
    assert.equal(video.pipeline.transcription.state, "waiting")
  },

  "course-events": async () => {
    await follow(`/api/courses/${courseId}/events`).until((video) => video.id === videoId)
  },

  "get-video-pipeline": async () => {
    const { data: video } = must(await client.GET("/api/videos/{videoId}/pipeline", { params: { path: { videoId } } }))
    assert.equal(video.course_id, courseId)
    assert.equal(video.pipeline.dead_letters.latest?.reason, undefined)
  },

  "list-course-pipeline": async () => {
    let cursor: string | undefined
    const ids = []
    do {
      const page = must(
        await client.GET("/api/courses/{courseId}/pipeline", {
          params: { path: { courseId }, query: { limit: 50, ...(cursor && { cursor }) } },
        }),
      )
      ids.push(...page.data.map((video) => video.id))
      cursor = page.next_cursor ?? undefined
    } while (cursor)
    assert(ids.includes(videoId))
  },

  "put-transcription": async () => {
    const states = follow(`/api/videos/${videoId}/events`)
    const accepted = must(
      await client.PUT("/api/videos/{videoId}/transcription", {
        params: { path: { videoId } },
        body: { transcription: { duration: 2.5, language: "en", words: [{ text: "Hello.", start: 0, end: 0.5 }] } },
      }),
    )
    assert.equal(accepted.data.id, videoId)
    const video = await states.until((video) => video.pipeline.transcription.state === "done")
    assert.equal(video.pipeline.transcription.words, 1)
  },

  "get-captions": async () => {
    const { data, response } = await client.GET("/api/videos/{videoId}/captions.vtt", {
      params: { path: { videoId } },
      parseAs: "text",
    })
    assert.equal(data, "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHello.\n")
    const again = await client.GET("/api/videos/{videoId}/captions.vtt", {
      params: { path: { videoId }, header: { "If-None-Match": response.headers.get("ETag") ?? "" } },
      parseAs: "text",
    })
    assert.equal(again.response.status, 304)
  },

  "retry-transcription": async () => {
    const params = { path: { videoId } }
    const { error } = await client.POST("/api/videos/{videoId}/transcription/retry", { params })
    assert.equal(error?.code, "nothing_to_retry")
    const retried = must(
      await client.POST("/api/videos/{videoId}/transcription/retry", { params, body: { force: true } }),
    )
    assert(retried.data.ask >= 1)
  },

  "delete-video": async () => {
    const { response } = await client.DELETE("/api/videos/{videoId}", { params: { path: { videoId } } })
    assert.equal(response.status, 204)
  },

  "delete-video-pipeline": async () => {
    const { error } = await client.DELETE("/api/videos/{videoId}/pipeline", { params: { path: { videoId } } })
    assert.equal(error?.code, "no_video") // which is deleted already
  },
}

for (const [operation, step] of Object.entries(walk)) {
  console.log(operation)
  await step()
}

// follow listens to the states of videos from now on.
function follow(path: string) {
  const source = new EventSource(url + path, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
  })
  return {
    // until resolves with the first state that is as wanted, and stops listening.
    until: async (wanted: (video: Video) => boolean): Promise<Video> => {
      const { promise, resolve, reject } = deferred<Video>()
      const timer = setTimeout(() => reject(new Error(`${path}: nothing came in 60 s`)), 60_000)
      source.onmessage = (event) => {
        const video = JSON.parse(event.data) as Video
        if (wanted(video)) resolve(video)
      }
      source.onerror = (event) => {
        // It reconnects by itself, but for an answer that says that there is no use.
        if (source.readyState === EventSource.CLOSED) reject(new Error(`${path}: ${event.code} ${event.message}`))
      }
      source.addEventListener("deleted", () => reject(new Error(`${path}: it was deleted`)))
      try {
        return await promise
      } finally {
        clearTimeout(timer)
        source.close()
      }
    },
  }
}

function deferred<T>() {
  let resolve!: (value: T) => void, reject!: (reason: Error) => void
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]))
  return { promise, resolve, reject }
}

// must is for answers that have to be a success.
function must<T>({ data, error, response }: { data?: T; error?: unknown; response: Response }): T {
  if (data === undefined) throw new Error(`${response.url}: ${response.status} ${JSON.stringify(error)}`)
  return data
}

function required(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}
