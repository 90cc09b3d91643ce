package disk

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
)

// Op is a kind of operation of a Mem.
type Op uint8

// The kinds of operations. AnyChange stands in a Fault for all that change something: those a crash point can lie between.
const (
	AnyChange Op = iota
	OpCreate
	OpOpen
	OpRename
	OpRemove
	OpList
	OpStat
	OpMkdirAll
	OpSyncDir
	OpSecure
	OpLock
	OpRead
	OpWrite
	OpSync
	OpAllocate
	OpTruncate
	opCount
)

var opNames = [opCount]string{"any change", "create", "open", "rename", "remove", "list", "stat", "mkdir", "sync directory",
	"secure", "lock", "read", "write", "sync", "allocate", "truncate"}

// String returns the name of the operation in words.
func (o Op) String() string { return opNames[o] }

func (o Op) changes() bool {
	switch o {
	case OpOpen, OpList, OpStat, OpSecure, OpLock, OpRead:
		return false
	}
	return true
}

// ErrInjected is what operations fail with if a Fault names no other error.
var ErrInjected = errors.New("injected fault")

// Fault makes operations of a Mem fail. A write that fails leaves half of its bytes; a sync that fails loses what it
// should have made safe.
type Fault struct {
	Op   Op     // the kind; AnyChange for all that change something
	Path string // pattern of path.Match for the base name; "" for all. A rename counts by its new name
	Nth  int    // which of the operations that match fails, from 1; 0 is the first
	Err  error  // what it fails with; ErrInjected if nil
	Dead bool   // from then on every operation fails and does nothing: the process has died, and Crash may follow

	seen int
	hit  bool
}

// Inject adds a fault. Faults stay, used up or not, until Heal.
func (m *Mem) Inject(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, &f)
}

// Heal removes all faults.
func (m *Mem) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = nil
}

// Struck reports whether any of the faults has made an operation fail.
func (m *Mem) Struck() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.faults {
		if f.hit {
			return true
		}
	}
	return false
}

// Count returns how often an operation was called, failed ones included.
func (m *Mem) Count(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if op == AnyChange {
		return m.changes
	}
	return m.counts[op]
}

// begin counts an operation, and returns the error it is to fail with. m.mu is held.
func (m *Mem) begin(op Op, name string) error {
	m.counts[op]++
	if op.changes() {
		m.changes++
	}
	if m.dead() {
		return fmt.Errorf("%s %s: %w", op, name, ErrInjected)
	}
	for _, f := range m.faults {
		if !f.matches(op, name) {
			continue
		}
		if f.seen++; f.seen == max(f.Nth, 1) {
			f.hit = true
			return fmt.Errorf("%s %s: %w", op, name, f.err())
		}
	}
	return nil
}

func (m *Mem) dead() bool {
	for _, f := range m.faults {
		if f.Dead && f.hit {
			return true
		}
	}
	return false
}

func (f *Fault) matches(op Op, name string) bool {
	if f.Op != op && (f.Op != AnyChange || !op.changes()) {
		return false
	}
	if f.Path == "" {
		return true
	}
	ok, err := path.Match(f.Path, filepath.Base(name))
	return ok && err == nil
}

func (f *Fault) err() error {
	if f.Err == nil {
		return ErrInjected
	}
	return f.Err
}

// Flip inverts one bit of what a file holds, safely, as a failing disk does. Bit 0 is the lowest of the first byte.
func (m *Mem) Flip(name string, bit int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[filepath.Clean(name)]
	if !ok || bit < 0 || bit/8 >= f.now.size {
		return fmt.Errorf("flip bit %d of %s: %w", bit, name, errors.ErrUnsupported)
	}
	for _, img := range []*image{&f.now, &f.safe} {
		var b [1]byte
		if img.read(b[:], bit/8) == 1 {
			b[0] ^= 1 << (bit % 8)
			img.write(b[:], bit/8)
		}
	}
	return nil
}
