package bench

// Measures are all there are, in the order in which they run and are shown.
func Measures() []Measure {
	return []Measure{
		pipeline,
		pipelineCurve,
		creates,
		idle,
		sizes,
		histories,
		waiting,
		space,
		house,
		decoding,
		decodingAllocs,
		bridging,
		backlogged,
		latencies,
		stepAllocs,
	}
}
