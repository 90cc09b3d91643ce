package store

// change is what an event tells of: everything that its JSON is made from. Nodes never change, so it can be made later.
type change struct {
	action    Action
	flags     eventFlags
	silent    bool // told to nobody but the writer (K67)
	key       string
	index     Index
	clock     clock
	node, old *node // as the key is now, and as it was; nil: not there
}

// DeferEvents has commands make no events, and Apply give nil for them, until the next Publish: that is for a store which
// nobody looks at yet. What the history forgets before that is never made.
func (s *Store) DeferEvents() { s.late = &late{} }

// later keeps a change for the history, and forgets what surely no longer belongs to it.
func (s *Store) later(c *change) {
	l, o := s.late, &s.hub.options
	l.add(c)
	for l.count() > 1 && (l.count() > o.HistoryEvents || l.bytes > o.HistoryBytes) {
		l.forget()
	}
	if l.last == chunkEvents {
		s.makeRoom(l.bytes)
	}
}

// MakeEvents gives functions that make the events which were deferred, each a part of them. They can run side by side,
// before the next Publish, which else makes all of them.
func (s *Store) MakeEvents(parts int) (all []func()) {
	l := s.late
	s.makeRoom(l.trim(s.hub.options.HistoryBytes))
	l.made = make([]*Event, l.count())
	for part := range parts {
		from, to := part*l.count()/parts, (part+1)*l.count()/parts
		all = append(all, func() {
			var t teller
			for i := from; i < to; i++ {
				l.made[i] = t.event(l.at(i))
			}
		})
	}
	return all
}

// enterLate ends what DeferEvents began.
func (s *Store) enterLate() {
	if s.late.made == nil {
		s.MakeEvents(1)[0]()
	}
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.late.forgotten != 0 {
		h.history.oldest = s.late.forgotten + 1
	}
	for _, e := range s.late.made {
		h.history.add(e)
	}
	s.late = nil
}

// makeRoom forgets events of the history for those that are made later, and take at least so many bytes. All go if one of
// these is forgotten already, so that the history has no gap.
func (s *Store) makeRoom(bytes int64) {
	h := &s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if count := s.late.count(); s.late.forgotten != 0 {
		h.history.shrink(0, 0, 0)
	} else {
		h.history.shrink(max(0, 1-count), h.options.HistoryEvents-count, h.options.HistoryBytes-bytes)
	}
}

// late are changes whose events belong to the history, behind those it has. They lie in pieces, each of which but the last
// is full.
type late struct {
	pieces    [][]change
	first     int // place in pieces[0] of the oldest that still belongs to it
	last      int // changes in the last piece
	spare     []change
	bytes     int64    // no more than their events take; those are known when they are made
	forgotten Index    // of the newest that no longer belongs to it; 0: none
	made      []*Event // of all that belong to it; nil: not made
}

func (l *late) count() int {
	if len(l.pieces) == 0 {
		return 0
	}
	return (len(l.pieces)-1)*chunkEvents + l.last - l.first
}

// at is the i-th that belongs to the history.
func (l *late) at(i int) *change {
	i += l.first
	return &l.pieces[i/chunkEvents][i%chunkEvents]
}

func (l *late) add(c *change) {
	if len(l.pieces) == 0 || l.last == chunkEvents {
		if l.spare == nil {
			l.spare = make([]change, chunkEvents)
		}
		l.pieces, l.spare, l.last = append(l.pieces, l.spare), nil, 0
	}
	l.pieces[len(l.pieces)-1][l.last] = *c
	l.last++
	l.bytes += c.leastBytes()
}

// forget forgets the oldest change.
func (l *late) forget() {
	c := l.at(0)
	l.forgotten = c.index
	l.bytes -= c.leastBytes()
	*c = change{}
	if l.first++; l.first == chunkEvents {
		l.spare, l.pieces, l.first = l.pieces[0], l.pieces[1:], 0
	}
}

// trim forgets the oldest changes until the events of the others take at most so many bytes, and gives these. The newest
// stays even when it alone is too large.
func (l *late) trim(most int64) (bytes int64) {
	kept := 0
	for kept < l.count() {
		c := l.at(l.count() - 1 - kept)
		size := eventSize(c.key, c.jsonBytes())
		if kept > 0 && bytes+size > most {
			break
		}
		bytes += size
		kept++
	}
	for l.count() > kept {
		l.forget()
	}
	return bytes
}

// tell makes the event of a change, or leaves that for later.
func (s *Store) tell(c change) *Event {
	if s.late != nil {
		if !c.silent {
			s.later(&c)
		}
		return nil
	}
	e := s.teller.event(&c)
	if !c.silent {
		var removed *directory
		if c.flags&flagDirRemoved != 0 {
			removed = c.old.dir
		}
		s.pending = append(s.pending, event{Event: e, removed: removed})
		s.held += e.size()
	}
	return e
}

// teller makes events.
type teller struct {
	scratch []byte // an event's JSON
	shelf   shelf  // for the next events
}

// scratchMax is the longest JSON that is put together in the scratch buffer.
const scratchMax = 64 << 10

// event makes the event of a change. Long JSON is made where it stays, in memory of its length.
func (t *teller) event(c *change) *Event {
	e := Event{index: c.index, key: c.key, action: c.action, flags: c.flags}
	if c.valueBytes() > scratchMax/longestEscape {
		return alone(e, c.appendJSON(make([]byte, 0, c.jsonBytes())))
	}
	json := c.appendJSON(t.scratch[:0])
	if t.scratch = json; cap(json) > scratchMax {
		t.scratch = nil // a long key: what comes next needs less
	}
	return t.shelf.put(e, json)
}

func (c *change) appendJSON(b []byte) []byte {
	b = append(b, `{"action":"`...)
	b = append(append(b, c.action.String()...), `","node":`...)
	if c.node != nil {
		b = appendNode(b, c.key, c.node, c.clock)
	} else {
		b = appendRemoved(b, c.key, c.old, c.index)
	}
	if c.old != nil {
		b = appendNode(append(b, `,"prevNode":`...), c.key, c.old, c.clock)
	}
	return append(b, "}\n"...)
}

// valueBytes is the length of the values that the JSON tells.
func (c *change) valueBytes() (bytes int) {
	if c.node != nil {
		bytes += len(c.node.value)
	}
	if c.old != nil {
		bytes += len(c.old.value)
	}
	return bytes
}

// leastBytes is less than the event takes.
func (c *change) leastBytes() int64 { return int64(len(c.key) + c.valueBytes()) }

// jsonBytes is how long the JSON is.
func (c *change) jsonBytes() int {
	key := len(`{"key":""}`) + escapedLen(c.key)
	bytes := len(`{"action":"","node":}`+"\n") + len(c.action.String()) + key
	switch {
	case c.node != nil:
		bytes += c.node.jsonBytes(c.clock)
	case c.old.dir != nil:
		bytes += len(`,"dir":true`) + indexesLen(c.index, c.old.created)
	default:
		bytes += indexesLen(c.index, c.old.created)
	}
	if c.old != nil {
		bytes += len(`,"prevNode":`) + key + c.old.jsonBytes(c.clock)
	}
	return bytes
}

// jsonBytes is how long the JSON of a node is besides its key and its braces.
func (n *node) jsonBytes(c clock) int {
	bytes := indexesLen(n.modified, n.created)
	if n.dir == nil {
		bytes += len(`,"value":""`) + escapedLen(n.value)
	} else {
		bytes += len(`,"dir":true`)
	}
	if n.deadline != 0 {
		var room [128]byte
		bytes += len(appendExpiry(room[:0], n.deadline.shifted(c.shift), c.now))
	}
	return bytes
}

// indexesLen is how much appendIndexes appends.
func indexesLen(modified, created Index) (bytes int) {
	if modified != 0 {
		bytes += len(`,"modifiedIndex":`) + digits(modified)
	}
	if created != 0 {
		bytes += len(`,"createdIndex":`) + digits(created)
	}
	return bytes
}

func digits(n Index) (count int) {
	for ; n > 0; n /= 10 {
		count++
	}
	return count
}
