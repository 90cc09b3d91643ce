package store

// Action says what an event did. The numbers are kept in snapshots and never change.
type Action uint8

// The actions of the v2 API. ActionGet is never an event; it names the answer to a read.
const (
	ActionGet              Action = 1
	ActionSet              Action = 2
	ActionCreate           Action = 3
	ActionUpdate           Action = 4
	ActionCompareAndSwap   Action = 5
	ActionDelete           Action = 6
	ActionCompareAndDelete Action = 7
	ActionExpire           Action = 8
)

// String is the action's name on the wire.
func (a Action) String() string {
	switch a {
	case ActionGet:
		return "get"
	case ActionSet:
		return "set"
	case ActionCreate:
		return "create"
	case ActionUpdate:
		return "update"
	case ActionCompareAndSwap:
		return "compareAndSwap"
	case ActionDelete:
		return "delete"
	case ActionCompareAndDelete:
		return "compareAndDelete"
	case ActionExpire:
		return "expire"
	}
	return "unknown"
}

// isChange reports whether a is an action that an event can have.
func (a Action) isChange() bool { return a > ActionGet && a <= ActionExpire }

// Event is one change of the tree. It is immutable: the writer's answer, all watchers, the history and snapshots share
// one Event and its one encoding.
type Event struct {
	index  Index
	key    string // clean path of the node; never the root, which cannot change
	json   []byte
	action Action
	flags  eventFlags
}

// eventFlags are kept in snapshots; their bits never change.
type eventFlags uint8

const (
	flagCreated    eventFlags = 1 << 0 // the writer's answer is 201
	flagDirRemoved eventFlags = 1 << 1 // a directory went, with all below it
	flagsAll                  = flagCreated | flagDirRemoved
)

// Index is the event's store index, which is its node's modifiedIndex (K45).
func (e *Event) Index() Index { return e.index }

// Action says what was done.
func (e *Event) Action() Action { return e.action }

// Key is the path of the changed node as clients see it.
func (e *Event) Key() string { return e.key }

// JSON is the body of the writer's answer and of every watcher's, newline included (K26-K34, K92). The ttl in it is as
// of the log's time when the event happened. It must not be modified.
func (e *Event) JSON() []byte { return e.json }

// Created reports whether the writer's answer is 201 rather than 200 (K26).
func (e *Event) Created() bool { return e.flags&flagCreated != 0 }

// size is what the event takes in memory, in bytes; the history is bounded by the sum of it.
func (e *Event) size() int64 { return eventSize(e.key, len(e.json)) }

// eventSize is the size of an event with this key and so much JSON.
func eventSize(key string, json int) int64 {
	const overhead = 80 // the Event itself, its place in a chunk, and rounding by the allocator
	return int64(json) + int64(len(key)) + overhead
}

// A shelf is where the latest events lie side by side with their JSON. There are as many events as history keeps, and
// the collector of garbage goes by the number of objects: so it has a hundredth of them to look at. They come and go in
// order; one that is held for long keeps its neighbours alive, which are few and short: long ones lie by themselves.
type shelf struct {
	events []Event
	json   []byte
}

const (
	shelfEvents = 64
	shelfBytes  = 16 << 10
	shelvedMax  = shelfBytes / 16 // bytes of JSON
)

// put takes an event, and a copy of its JSON.
func (s *shelf) put(e Event, json []byte) *Event {
	if len(json) > shelvedMax {
		return alone(e, append(make([]byte, 0, len(json)), json...))
	}
	if cap(s.json)-len(s.json) < len(json) {
		s.json = make([]byte, 0, shelfBytes)
	}
	from := len(s.json)
	s.json = append(s.json, json...)
	e.json = s.json[from:len(s.json):len(s.json)]
	if len(s.events) == cap(s.events) {
		s.events = make([]Event, 0, shelfEvents)
	}
	s.events = append(s.events, e)
	return &s.events[len(s.events)-1]
}

// alone makes an event that shares its memory with no other one. It keeps the JSON that it is given.
func alone(e Event, json []byte) *Event {
	e.json = json
	return &e
}
