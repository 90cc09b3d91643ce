package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"canopy/store/storepb"
)

// SnapshotError says that what Load was given is not a whole snapshot of a store that this version knows.
type SnapshotError struct {
	Record uint64 // which record, from 1 on
	Reason string
	Cause  error // of the reader or of the decoder; may be nil
}

// Error names the record and what is wrong with it.
func (e *SnapshotError) Error() string {
	text := fmt.Sprintf("store: snapshot record %d: %s", e.Record, e.Reason)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *SnapshotError) Unwrap() error { return e.Cause }

const (
	recordBytesMax = 1 << 30  // most bytes of a record; the largest value a log entry can bring is far below
	recordStep     = 64 << 10 // a longer record is only given memory as its bytes arrive
)

// ErrNewerFormat is the cause of a SnapshotError when a newer version of this program wrote the snapshot.
var ErrNewerFormat = errors.New("written by a newer version of this program; use that one")

// Load reads what View.Save wrote, to its end. It checks everything the store relies on (order, names, indexes, counts)
// and answers anything else with a *SnapshotError; it takes no more memory than a small multiple of what it has read.
// The limits of history are those of o, so older events may be dropped.
func Load(r io.Reader, o Options) (*Store, error) {
	l := loader{in: bufio.NewReaderSize(r, recordStep), keep: true}
	s, err := l.load(o)
	if err != nil {
		return nil, err
	}
	s.dirty = true
	s.Publish()
	return s, nil
}

// Verify reads what View.Save wrote with the code of Load, and gives View.Hash of the state, without making that state:
// memory depends on the depth of the tree and the largest record. So what Verify accepts, Load accepts, too.
func Verify(r io.Reader) (hash uint64, err error) {
	l := loader{in: bufio.NewReaderSize(r, recordStep)}
	s, err := l.load(Options{})
	if err != nil {
		return 0, err
	}
	return s.Hash(), nil
}

// loader reads records and remembers the first thing that is wrong.
type loader struct {
	keep       bool // what is read becomes a part of the store; else it is only checked and hashed
	in         *bufio.Reader
	record     uint64
	buf        []byte
	nodesRead  uint64
	eventsRead uint64
	err        error
}

// load reads a whole snapshot into a new store.
func (l *loader) load(o Options) (*Store, error) {
	s := &Store{epoch: 1, deadlines: newDeadlines()}
	s.root = newRoot(s.epoch)
	s.hub.start(o.withDefaults())
	header := l.header(s)
	l.nodes(s)
	l.events(s, header.Events)
	l.trailer(s.Hash())
	if l.err != nil {
		return nil, l.err
	}
	return s, nil
}

// fail notes what is wrong with the present record, unless something was wrong before. It returns false.
func (l *loader) fail(reason string, cause error) bool {
	if l.err == nil {
		l.err = &SnapshotError{Record: l.record, Reason: reason, Cause: cause}
	}
	return false
}

// next decodes the next record into m.
func (l *loader) next(m interface{ UnmarshalVT([]byte) error }) bool {
	if l.err != nil {
		return false
	}
	l.record++
	size, err := binary.ReadUvarint(l.in)
	if err != nil {
		return l.fail("length", cutShort(err))
	}
	if size > recordBytesMax {
		return l.fail("longer than any record can be", nil)
	}
	l.buf = l.buf[:0]
	for uint64(len(l.buf)) < size {
		have := len(l.buf)
		step := min(int(size)-have, max(have, recordStep))
		if cap(l.buf) < have+step {
			l.buf = append(make([]byte, 0, have+step), l.buf...)
		}
		l.buf = l.buf[:have+step]
		if _, err := io.ReadFull(l.in, l.buf[have:]); err != nil {
			return l.fail("content", cutShort(err))
		}
	}
	if err := m.UnmarshalVT(l.buf); err != nil {
		return l.fail("content", err)
	}
	return true
}

// cutShort makes of an end where more should follow what it is.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// header reads indexes, times and counts into s.
func (l *loader) header(s *Store) *storepb.Header {
	m := &storepb.Header{}
	switch {
	case !l.next(m):
		return m
	case m.Version > saveVersion:
		l.fail(fmt.Sprintf("version %d is not known, only %d", m.Version, saveVersion), ErrNewerFormat)
	case m.Version < saveVersion:
		l.fail(fmt.Sprintf("version %d has never been", m.Version), nil)
	case m.Shift < 0:
		l.fail("negative shift", nil)
	case m.Oldest == 0 || m.Oldest-1 > m.Index:
		l.fail("the history begins past the index", nil)
	}
	s.index = Index(m.Index)
	s.clock = clock{now: Time(m.Time), shift: Duration(m.Shift)}
	s.hub.history.oldest = Index(m.Oldest)
	if c := m.Counters; c != nil {
		s.counters = counters{
			sets:           outcome{c.SetsSuccess, c.SetsFail},
			deletes:        outcome{c.DeleteSuccess, c.DeleteFail},
			updates:        outcome{c.UpdateSuccess, c.UpdateFail},
			creates:        outcome{c.CreateSuccess, c.CreateFail},
			swaps:          outcome{c.CompareAndSwapSuccess, c.CompareAndSwapFail},
			compareDeletes: outcome{c.CompareAndDeleteSuccess, c.CompareAndDeleteFail},
			expired:        c.ExpireCount,
		}
	}
	return m
}

// branch is a directory whose children are being read.
type branch struct {
	dir  *directory
	path int    // length of its path
	last string // name of the child read last; "": none yet
}

// nodes reads the tree.
func (l *loader) nodes(s *Store) {
	var m storepb.Node
	open := []branch{{dir: s.root.dir}}
	var path []byte
	for {
		m = storepb.Node{Name: m.Name[:0], Value: m.Value[:0]}
		if !l.next(&m) {
			return
		}
		for uint32(len(open)) > max(m.Depth, 1) {
			below := open[len(open)-1].dir
			open = open[:len(open)-1]
			open[len(open)-1].dir.timed += below.timed
			open[len(open)-1].dir.hash += below.hash
		}
		if m.Depth == 0 {
			return
		}
		if !l.checkNode(&m, open, s.index) {
			return
		}
		parent := &open[len(open)-1]
		n := &node{name: string(m.Name), value: string(m.Value), created: Index(m.Created), modified: Index(m.Modified),
			deadline: Time(m.Deadline)}
		parent.last = n.name
		path = append(append(path[:parent.path], '/'), n.name...)
		if n.deadline != 0 {
			parent.dir.timed++
			if l.keep {
				s.remember(string(path), n.deadline)
			}
		}
		if m.Dir {
			n.dir = &directory{epoch: s.epoch}
			open = append(open, branch{dir: n.dir, path: len(path)})
		}
		parent.dir.hash += n.hash(pathHash(xxhash.Sum64(path)))
		if l.keep {
			parent.dir.insert(n)
		}
		l.nodesRead++
	}
}

// checkNode checks a node against those before it: open has all directories that its parent can be, but those deeper
// than its parent have been closed already.
func (l *loader) checkNode(m *storepb.Node, open []branch, index Index) bool {
	switch parent := open[len(open)-1]; {
	case uint64(m.Depth) != uint64(len(open)):
		return l.fail("a node without its directory", nil)
	case m.Depth > deepest:
		return l.fail("a node deeper than any can be", nil)
	case !isName(string(m.Name)):
		return l.fail("a name that no node can have", nil)
	case parent.last >= string(m.Name): // no name is empty
		return l.fail("nodes out of order", nil)
	case m.Dir && len(m.Value) > 0:
		return l.fail("a directory with a value", nil)
	case m.Created == 0 || m.Created > m.Modified || m.Modified > uint64(index):
		return l.fail("a node's indexes are out of range", nil)
	}
	return true
}

// events reads the history.
func (l *loader) events(s *Store, count uint64) {
	last := s.hub.history.oldest - 1
	var m storepb.Event
	for ; l.eventsRead < count; l.eventsRead++ {
		m = storepb.Event{Key: m.Key[:0]} // its JSON is kept, its key is not
		if !l.next(&m) {
			return
		}
		key, err := ParseKey(string(m.Key))
		e := &Event{index: Index(m.Index), key: key.clean, json: m.Json, action: Action(m.Action), flags: eventFlags(m.Flags)}
		switch {
		case e.index <= last || e.index > s.index:
			l.fail("events out of order", nil)
		case key.IsRoot() && err == nil, len(key.clean) != len(m.Key):
			l.fail("an event of no node", err)
		case m.Action > uint32(ActionExpire) || !e.action.isChange() || m.Flags&^uint32(flagsAll) != 0:
			l.fail("an event that this version does not know", nil)
		case len(e.json) == 0 || e.json[len(e.json)-1] != '\n':
			l.fail("an event without its text", nil)
		}
		if l.err != nil {
			return
		}
		last = e.index
		if l.keep {
			s.hub.history.add(e)
		}
	}
}

// trailer checks that nothing is missing or different, and that nothing follows.
func (l *loader) trailer(hash uint64) {
	m := &storepb.Trailer{}
	if !l.next(m) {
		return
	}
	if m.Nodes != l.nodesRead || m.Events != l.eventsRead {
		l.fail("the counts differ from what was read", nil)
		return
	}
	if m.Hash != 0 && m.Hash != hash {
		l.fail("the state is not the one that was saved: its hash differs", nil)
		return
	}
	if _, err := l.in.ReadByte(); err != io.EOF {
		l.fail("something follows the end", err)
	}
}
