package watch

import "canopy/store/tree"

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

// IsChange reports whether a is an action that an event can have.
func (a Action) IsChange() bool { return a > ActionGet && a <= ActionExpire }

// Event is one change of the tree. It is immutable: the writer's answer, all watchers, the history and snapshots share
// one Event and its one encoding.
type Event struct {
	index  tree.Index
	key    string // clean path of the node; never the root, which cannot change
	json   []byte
	action Action
	flags  Flags
}

// Flags are kept in snapshots. Their bits never change.
type Flags uint8

// The flags of an event.
const (
	FlagCreated    Flags = 1 << 0 // the writer's answer is 201
	FlagDirRemoved Flags = 1 << 1 // a directory was removed, with all nodes below it
	FlagsAll             = FlagCreated | FlagDirRemoved
)

// NewEvent makes an event of what a snapshot has of it. It keeps key and json.
func NewEvent(index tree.Index, action Action, flags Flags, key string, json []byte) *Event {
	return &Event{index: index, key: key, json: json, action: action, flags: flags}
}

// Index is the event's store index, which is its node's modifiedIndex (K45).
func (e *Event) Index() tree.Index { return e.index }

// Action says what was done.
func (e *Event) Action() Action { return e.action }

// Flags are what a snapshot keeps besides index, action, key and JSON.
func (e *Event) Flags() Flags { return e.flags }

// Key is the path of the changed node as clients see it.
func (e *Event) Key() string { return e.key }

// JSON is the body of the writer's answer and of every watcher's, newline included (K26-K34, K92). Its ttl counts from the
// log's time when the event happened. It must not be modified.
func (e *Event) JSON() []byte { return e.json }

// Created reports whether the writer's answer is 201 rather than 200 (K26).
func (e *Event) Created() bool { return e.flags&FlagCreated != 0 }

// size is the memory that the event takes, in bytes. The limit of the history counts it.
func (e *Event) size() int64 { return eventSize(e.key, len(e.json)) }

// eventSize is the size of an event with this key and this many bytes of JSON.
func eventSize(key string, json int) int64 {
	const overhead = 80 // the Event, its pointer in a chunk, and what the allocator rounds up
	return int64(json) + int64(len(key)) + overhead
}
