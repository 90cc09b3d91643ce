package etcddir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"canopy/migration/etcdtree"
	"canopy/migration/etcdwal"
	"canopy/migration/report"
)

// Options say what is taken.
type Options struct {
	WALDir        string
	AcceptLoss    bool   // go on although entries that were committed are gone
	CommittedOnly bool   // only what is known to be committed
	InOrder       string // names in order: "padded", "plain", or "" to find out (G36)
}

// Source is a directory that was read once: it is known how far it goes.
type Source struct {
	place  Place
	report *report.Report

	o       Options
	lock    io.Closer
	log     *etcdwal.Log // nil: a file
	state   *etcdtree.State
	start   uint64 // index of the snapshot
	term    uint64 // of the snapshot
	scan    *scan
	cluster uint64
	node    uint64
	stop    uint64 // the last entry that is applied
}

// Open finds what lies at a path, and reads it. The caller must Close it.
func Open(place Place, o Options) (_ *Source, err error) {
	s := &Source{place: place, o: o, report: &report.Report{Kind: string(place.Kind), Source: place.Path}}
	for _, w := range place.Warnings {
		s.report.Note("%s", w)
	}
	if place.V3 {
		s.report.Note("v3 keys are not imported")
	}
	switch place.Kind {
	case StateFile:
		s.state, err = loadStateFile(place.Path)
		return s, err
	case SnapFile:
		s.state, s.term, s.start, err = snapshot{path: place.Path}.load(etcdtree.Rules{Padded: true}, false)
		s.scan = &scan{}
		s.stop = s.start
		return s, err
	}
	if s.log, err = etcdwal.List(place.WAL); err != nil {
		return nil, err
	}
	if s.log.Empty() {
		return nil, &RefusedError{place.WAL, "there is no log of etcd"}
	}
	if s.lock, err = hold(s.log.Newest(), place.Path); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close lets the servers use the directory again.
func (s *Source) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Reported is what was found.
func (s *Source) Reported() *report.Report { return s.report }

// Position is the last entry: of two members the greater one knows more (G19).
func (s *Source) Position() (term, index uint64) {
	if s.scan == nil {
		return 0, 0
	}
	return max(s.scan.lastTerm, s.term), max(s.scan.last, s.start)
}

// Cluster is the ID of the source's cluster; "" if it has none.
func (s *Source) Cluster() string {
	if s.log == nil {
		return ""
	}
	return strconv.FormatUint(s.cluster, 16)
}

// Node is the ID of the member whose directory this is.
func (s *Source) Node() string { return strconv.FormatUint(s.node, 16) }

// open chooses a snapshot, and reads the log behind it (G25).
func (s *Source) open() error {
	snaps, err := snapshots(s.place.Snap)
	if err != nil {
		return err
	}
	sequence, first := s.log.First()
	if s.place.Kind == Early && sequence == 0 && first == 0 {
		// Snapshots of 2.0.0 have forgotten modifiedIndex; the whole log has not (G26).
		if err := s.try(etcdtree.New(etcdtree.Rules{}), 0, 0); err == nil {
			return nil
		}
	}
	for _, each := range snaps {
		state, _, _, err := each.load(etcdtree.Rules{}, true)
		if err == nil {
			err = s.try(state, each.term, each.index)
			if err == nil {
				s.report.Snapshot = each.path
				return nil
			}
			if !errors.Is(err, errHole) {
				return err
			}
		}
		s.report.PassedOver = append(s.report.PassedOver, fmt.Sprintf("%s: %v", each.path, err))
	}
	if sequence != 0 {
		return &RefusedError{s.place.Path, fmt.Sprintf("no snapshot can be used (%s), and the log begins at entry %d only", strings.Join(s.report.PassedOver, "; "), first)}
	}
	return s.try(etcdtree.New(etcdtree.Rules{}), 0, 0)
}

// try reads the log behind a snapshot once, and checks how it ends.
func (s *Source) try(state *etcdtree.State, term, index uint64) error {
	scanned := &scan{last: index, lastTerm: term, start: index}
	result, err := s.log.Read(index, scanned)
	if err != nil {
		if scanned.hole {
			return fmt.Errorf("%w: %w", errHole, err)
		}
		return err
	}
	s.state, s.term, s.start, s.scan = state, term, index, scanned
	s.node, s.cluster = result.Metadata.Node, result.Metadata.Cluster
	if err := s.ends(result.Cut); err != nil {
		return err
	}
	s.rules()
	return nil
}

// ends checks the end of the log (G15), and decides how much of it counts (G18).
func (s *Source) ends(cut *etcdwal.Cut) error {
	n := s.scan
	if cut != nil {
		s.report.Cut = &report.Cut{File: cut.File, Offset: cut.Offset, Bytes: cut.Bytes}
	} else if n.maxTerm > n.hard.Term {
		return &RefusedError{s.place.Path, fmt.Sprintf("the log has entries of term %d, but knows of no term after %d", n.maxTerm, n.hard.Term)}
	}
	commit := n.hard.Commit
	if cut != nil && cut.Kind == etcdwal.EntryKind && n.stateLast && s.lone() {
		commit = n.before.Commit // 2.0 writes the state before the entries of the same save, which did not end
	}
	s.stop = n.last
	if commit > n.last {
		text := fmt.Sprintf("the log ends at %d, but %d was committed", n.last, commit)
		if !s.o.AcceptLoss {
			return &RefusedError{s.place.Path, text + "; --accept-loss goes on without the lost entries"}
		}
		s.report.Leave("%s", text)
	}
	if s.o.CommittedOnly {
		s.stop = min(n.last, max(commit, s.start))
	}
	return nil
}

// lone tells whether the log belongs to a member that is alone: as the snapshot and the changes in the log say.
func (s *Source) lone() bool { return len(s.state.Members())+s.scan.members <= 1 }

// rules finds by which rules the log was applied (G36).
func (s *Source) rules() {
	n := s.scan
	n.see(s.state.Version())
	r := &s.state.Rules
	r.Padded = !n.version.less(2, 2) || n.newer
	switch s.o.InOrder {
	case "padded":
		r.Padded = true
	case "plain":
		r.Padded = false
	}
	r.FixedDirs = !n.version.less(3, 5)
	r.PlainUpdate = s.place.Kind == Early
}

var errHole = errors.New("entries are missing")

// scan is the first reading of a log.
type scan struct {
	start          uint64
	last, lastTerm uint64 // of the entries that are left
	hard, before   etcdwal.HardState
	stateLast      bool // the last record was a state
	maxTerm        uint64
	version        version
	newer          bool // entries that only servers from 2.2 on write
	members        int  // added by the log, less those it removed
	hole           bool
}

// Entry takes an entry. It replaces one of the same index, and all behind it (G12).
func (n *scan) Entry(e etcdwal.Entry) error {
	n.stateLast = false
	n.maxTerm = max(n.maxTerm, e.Term)
	if e.Index > n.start {
		if e.Index > n.last+1 {
			n.hole = true
			return fmt.Errorf("entry %d follows entry %d", e.Index, n.last)
		}
		if e.Index == n.last+1 && e.Term < n.lastTerm {
			return fmt.Errorf("entry %d is of term %d, and the one before of term %d", e.Index, e.Term, n.lastTerm)
		}
		if e.Index <= n.before.Commit && e.Index <= n.last {
			return fmt.Errorf("entry %d replaces one that was committed", e.Index)
		}
		n.last, n.lastTerm = e.Index, e.Term
	}
	return n.content(e)
}

func (n *scan) content(e etcdwal.Entry) error {
	if e.Type != 0 {
		c, err := etcdwal.ParseChange(e.Data)
		if err == nil && e.Index > n.start {
			switch c.Kind {
			case etcdtree.AddMember, etcdtree.AddLearner:
				n.members++
			case etcdtree.RemoveMember:
				n.members--
			}
		}
		return err
	}
	if len(e.Data) == 0 {
		return nil
	}
	c, err := etcdwal.Parse(e.Data)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	n.newer = n.newer || c.Union
	if r := c.Request; r != nil {
		n.newer = n.newer || r.Refresh
		if r.Method == "PUT" && r.Path == "/0/version" {
			n.see(r.Value)
		}
	}
	n.see(c.Version)
	return nil
}

// State takes a state: what it commits is never replaced. In 2.0 it comes before the entries of the same save, so that only the
// one before it is certain to speak of entries that were read.
func (n *scan) State(h etcdwal.HardState) error {
	if h.Term < n.hard.Term || h.Commit < n.hard.Commit {
		return fmt.Errorf("a state of term %d, commit %d follows one of term %d, commit %d", h.Term, h.Commit, n.hard.Term, n.hard.Commit)
	}
	if h != n.hard {
		n.before = n.hard
	}
	n.hard, n.stateLast = h, true
	return nil
}

// version is that of a server.
type version struct{ major, minor int }

func (v version) less(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

// see notes a version, if it is the highest.
func (n *scan) see(text string) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) < 2 {
		return
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err == nil && err2 == nil && n.version.less(major, minor) {
		n.version = version{major, minor}
	}
}

// Replay applies the log to the snapshot, and completes the report.
func (s *Source) Replay() (*etcdtree.State, error) {
	if s.log != nil {
		a := &applier{source: s, next: s.start + 1, report: s.report}
		if _, err := s.log.Read(s.start, a); err != nil {
			return nil, err
		}
		if err := a.rest(); err != nil {
			return nil, err
		}
	}
	if s.scan != nil {
		s.report.Commit = s.scan.hard.Commit
		s.report.LastTerm, s.report.LastIndex = s.Position()
	}
	if s.state.Now() == 0 {
		at, err := s.newest()
		if err != nil {
			return nil, err
		}
		s.state.Saw(at)
	}
	s.report.Cluster = s.Cluster()
	s.report.EtcdVersion = s.state.Version()
	for _, m := range s.state.Members() {
		s.report.Members = append(s.report.Members, report.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return s.state, nil
}

// newest is when the newest of the files was written (G54).
func (s *Source) newest() (int64, error) {
	files := []string{s.place.Path}
	if s.log != nil {
		files = nil
		for _, dir := range []string{s.place.WAL, s.place.Snap} {
			names, err := filepath.Glob(filepath.Join(dir, "*-*.*"))
			if err != nil {
				return 0, err
			}
			files = append(files, names...)
		}
	}
	latest := int64(0)
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		latest = max(latest, info.ModTime().UnixNano())
	}
	return latest, nil
}
