package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"canopy/store/storepb"
	"canopy/store/tree"
	"canopy/store/watch"
)

// SnapshotError says that Load did not get a whole snapshot in a format that this version knows.
type SnapshotError struct {
	Record uint64 // 1 for the first record
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
	recordBytesMax = 1 << 30  // most bytes of a record; the largest value in a log entry is much smaller
	recordStep     = 64 << 10 // the memory for a longer record grows as its bytes arrive
)

// ErrNewerFormat is the cause of a SnapshotError when a newer version of this program wrote the snapshot.
var ErrNewerFormat = errors.New("written by a newer version of this program; use that one")

// Load reads all that View.Save wrote. It checks what the store relies on: order, names, indexes and counts. If anything is
// wrong, the error is a *SnapshotError. It takes no more memory than a small multiple of the bytes that it has read. The
// limits of history are those of o, so Load may drop the oldest events.
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

// Verify reads what View.Save wrote, and returns View.Hash of that state. It uses the code of Load, so that it accepts what
// Load accepts; but it makes no state, so that its memory depends on the depth of the tree and the largest record only.
func Verify(r io.Reader) (hash uint64, err error) {
	sum, err := Inspect(r)
	return sum.Hash, err
}

// Summary is what a snapshot holds.
type Summary struct {
	Index, Oldest Index // of the store, and the lowest one from which a watch is possible
	Time          Time
	Files, Dirs   uint64
	Timed         uint64 // nodes that have a deadline
	Bytes         uint64 // of names and values
	Hash          uint64 // View.Hash of the state
}

// Inspect is Verify, and tells what there is.
func Inspect(r io.Reader) (Summary, error) {
	l := loader{in: bufio.NewReaderSize(r, recordStep)}
	s, err := l.load(Options{})
	if err != nil {
		return Summary{}, err
	}
	l.sum.Index, l.sum.Time, l.sum.Hash = s.index, s.clock.Now, s.Hash()
	return l.sum, nil
}

// loader reads records. After the first error it reads no more.
type loader struct {
	keep       bool // the store gets what is read; otherwise it is only checked and hashed
	in         *bufio.Reader
	record     uint64
	buf        []byte
	nodesRead  uint64
	eventsRead uint64
	sum        Summary
	err        error
}

// load reads a whole snapshot into a new store.
func (l *loader) load(o Options) (*Store, error) {
	s := newStore(o)
	header := l.header(s)
	l.nodes(s)
	l.events(s, Index(header.Oldest), header.Events)
	l.trailer(s.Hash())
	if l.err != nil {
		return nil, l.err
	}
	return s, nil
}

// fail makes an error about this record, unless there is one already. It returns false.
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

// cutShort turns io.EOF where more should follow into io.ErrUnexpectedEOF.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// header reads indexes, times and counts.
func (l *loader) header(s *Store) *storepb.Header {
	m := &storepb.Header{}
	switch {
	case !l.next(m):
		return m
	case m.Version > saveVersion:
		l.fail(fmt.Sprintf("version %d is not known, only %d", m.Version, saveVersion), ErrNewerFormat)
	case m.Version < saveVersion:
		l.fail(fmt.Sprintf("there is no version %d", m.Version), nil)
	case m.Shift < 0:
		l.fail("negative shift", nil)
	case m.Oldest == 0 || m.Oldest-1 > m.Index:
		l.fail("the history begins past the index", nil)
	}
	s.index = Index(m.Index)
	s.clock = tree.Clock{Now: Time(m.Time), Shift: Duration(m.Shift)}
	s.events.Restore(Index(m.Oldest))
	l.sum.Oldest = Index(m.Oldest)
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

// nodes reads the tree.
func (l *loader) nodes(s *Store) {
	var m storepb.Node
	b := tree.NewBuilder(l.keep)
	s.tree = b.Tree()
	for {
		m = storepb.Node{Name: m.Name[:0], Value: m.Value[:0]}
		if !l.next(&m) {
			return
		}
		b.Close(int(max(m.Depth, 1)))
		if m.Depth == 0 {
			return
		}
		if !l.checkNode(&m, b, s.index) {
			return
		}
		var dir *tree.Dir
		if m.Dir {
			dir = b.NewDir()
		}
		n := tree.NewNode(string(m.Value), dir, Index(m.Created), Index(m.Modified), Time(m.Deadline))
		l.count(&m)
		path := b.Add(string(m.Name), n)
		if n.Deadline() != 0 && l.keep {
			s.addDeadline(string(path), n.Deadline())
		}
		l.nodesRead++
	}
}

// count counts a node.
func (l *loader) count(m *storepb.Node) {
	if m.Dir {
		l.sum.Dirs++
	} else {
		l.sum.Files++
	}
	if m.Deadline != 0 {
		l.sum.Timed++
	}
	l.sum.Bytes += uint64(len(m.Name) + len(m.Value))
}

// checkNode checks a node that comes after those in b. The directories in b that end before it are closed.
func (l *loader) checkNode(m *storepb.Node, b *tree.Builder, index Index) bool {
	switch {
	case uint64(m.Depth) != uint64(b.Depth()):
		return l.fail("a node without its directory", nil)
	case m.Depth > deepest:
		return l.fail("a node deeper than any can be", nil)
	case !tree.IsName(string(m.Name)):
		return l.fail("a name that no node can have", nil)
	case b.Last() >= string(m.Name): // a name is never ""
		return l.fail("nodes out of order", nil)
	case m.Dir && len(m.Value) > 0:
		return l.fail("a directory with a value", nil)
	case m.Created == 0 || m.Created > m.Modified || m.Modified > uint64(index):
		return l.fail("a node's indexes are out of range", nil)
	}
	return true
}

// events reads the history, which begins at oldest.
func (l *loader) events(s *Store, oldest Index, count uint64) {
	last := oldest - 1
	var m storepb.Event
	for ; l.eventsRead < count; l.eventsRead++ {
		m = storepb.Event{Key: m.Key[:0]} // the event keeps the JSON, and a copy of the key
		if !l.next(&m) {
			return
		}
		key, err := ParseKey(string(m.Key))
		e := watch.NewEvent(Index(m.Index), watch.Action(m.Action), watch.Flags(m.Flags), key.clean, m.Json)
		switch {
		case e.Index() <= last || e.Index() > s.index:
			l.fail("events out of order", nil)
		case key.IsRoot() && err == nil, len(key.clean) != len(m.Key):
			l.fail("an event without a node", err)
		case m.Action > uint32(watch.ActionExpire) || !e.Action().IsChange() || m.Flags&^uint32(watch.FlagsAll) != 0:
			l.fail("an event that this version does not know", nil)
		case len(m.Json) == 0 || m.Json[len(m.Json)-1] != '\n':
			l.fail("an event without JSON", nil)
		}
		if l.err != nil {
			return
		}
		last = e.Index()
		if l.keep {
			s.events.RestoreEvent(e)
		}
	}
}

// trailer checks counts and hash, and that nothing follows.
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
		l.fail("bytes follow the end", err)
	}
}
