package watch

// arena is memory in which the latest events lie side by side with their JSON. There are as many events as the history
// keeps, and garbage collection costs time for each object: with the arena it sees a hundredth of them. Events come and go
// in order. One that is held for long keeps its neighbours alive; these are few and short, since long events are allocated
// alone.
type arena struct {
	events []Event
	json   []byte
}

const (
	arenaEvents  = 64
	arenaBytes   = 16 << 10
	arenaJSONMax = arenaBytes / 16 // longer JSON is allocated alone
)

// put adds an event, with a copy of its JSON.
func (a *arena) put(e Event, json []byte) *Event {
	if len(json) > arenaJSONMax {
		return alone(e, append(make([]byte, 0, len(json)), json...))
	}
	if cap(a.json)-len(a.json) < len(json) {
		a.json = make([]byte, 0, arenaBytes)
	}
	from := len(a.json)
	a.json = append(a.json, json...)
	e.json = a.json[from:len(a.json):len(a.json)]
	if len(a.events) == cap(a.events) {
		a.events = make([]Event, 0, arenaEvents)
	}
	a.events = append(a.events, e)
	return &a.events[len(a.events)-1]
}

// alone allocates an event that shares its memory with no other one. It keeps the JSON.
func alone(e Event, json []byte) *Event {
	e.json = json
	return &e
}
