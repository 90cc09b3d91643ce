package disk

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

// Mem is a file system in memory for tests. It keeps apart what is written and what is safe, so that Crash can say what
// a power cut would leave; Inject makes operations fail, SetCapacity fills it up, Flip damages a bit. It does no more
// than FS promises: names are safe after SyncDir only, and bytes after Sync only.
//
// Directories are safe at once and only files are renamed. The zero value is not usable: call NewMem. Mem is safe for
// concurrent use.
type Mem struct {
	mu       sync.Mutex // guards all below, and every memFile; held during each operation
	dirs     map[string]bool
	open     map[string]bool // directories that others may enter, made so by Expose
	files    map[string]*memFile
	durable  map[string]*memFile // names that are safe
	renames  []nameOp            // what was done to names since their SyncDir, oldest first
	locks    map[string]bool
	capacity int64 // bytes; 0 = endless
	faults   []*Fault
	counts   [opCount]int
	changes  int
}

var _ FS = (*Mem)(nil)

// nameOp is a change of a name that a crash may undo: file nil is a removal; from is the old name of a rename.
type nameOp struct {
	name, from string
	file       *memFile
}

// NewMem returns an empty file system with a root directory.
func NewMem() *Mem {
	root := string(filepath.Separator)
	return &Mem{
		dirs:    map[string]bool{root: true, ".": true},
		open:    map[string]bool{},
		files:   map[string]*memFile{},
		durable: map[string]*memFile{},
		locks:   map[string]bool{},
	}
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.begin(OpCreate, name); err != nil {
		return nil, err
	}
	if !m.dirs[filepath.Dir(name)] {
		return nil, notExist("create", name)
	}
	if f, ok := m.files[name]; ok {
		f.truncate(0)
		return &memHandle{m: m, f: f}, nil
	}
	f := newMemFile(name)
	m.files[name] = f
	m.renames = append(m.renames, nameOp{name: name, file: f})
	return &memHandle{m: m, f: f}, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.begin(OpOpen, name); err != nil {
		return nil, err
	}
	f, ok := m.files[name]
	if !ok {
		return nil, notExist("open", name)
	}
	return &memHandle{m: m, f: f}, nil
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	if err := m.begin(OpRename, to); err != nil {
		return err
	}
	f, ok := m.files[from]
	if !ok || !m.dirs[filepath.Dir(to)] {
		return notExist("rename", from)
	}
	delete(m.files, from)
	m.files[to] = f
	f.name = to
	m.renames = append(m.renames, nameOp{name: to, from: from, file: f})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.begin(OpRemove, name); err != nil {
		return err
	}
	if m.dirs[name] {
		if len(m.within(name)) > 0 {
			return &fs.PathError{Op: "remove", Path: name, Err: fmt.Errorf("directory not empty")}
		}
		delete(m.dirs, name)
		return nil
	}
	if _, ok := m.files[name]; !ok {
		return notExist("remove", name)
	}
	delete(m.files, name)
	m.renames = append(m.renames, nameOp{name: name})
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if err := m.begin(OpList, dir); err != nil {
		return nil, err
	}
	if !m.dirs[dir] {
		return nil, notExist("list", dir)
	}
	return m.within(dir), nil
}

// within returns the sorted names of files and directories in dir.
func (m *Mem) within(dir string) []string {
	var names []string
	for name := range m.files {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	for name := range m.dirs {
		if name != dir && filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	sort.Strings(names)
	return names
}

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.begin(OpStat, name); err != nil {
		return Info{}, err
	}
	if m.dirs[name] {
		return Info{Dir: true}, nil
	}
	f, ok := m.files[name]
	if !ok {
		return Info{}, notExist("stat", name)
	}
	return Info{Size: f.now.size}, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if err := m.begin(OpMkdirAll, dir); err != nil {
		return err
	}
	for ; !m.dirs[dir]; dir = filepath.Dir(dir) {
		if _, ok := m.files[dir]; ok {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: fmt.Errorf("not a directory")}
		}
		m.dirs[dir] = true
	}
	return nil
}

// SyncDir implements FS. After a failure the names stay unsafe until it succeeds.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if err := m.begin(OpSyncDir, dir); err != nil {
		return err
	}
	if !m.dirs[dir] {
		return notExist("sync", dir)
	}
	var later []nameOp
	for _, op := range m.renames {
		if filepath.Dir(op.name) != dir {
			later = append(later, op)
			continue
		}
		op.apply(m.durable)
	}
	m.renames = later
	return nil
}

// apply does op to a set of names.
func (op nameOp) apply(names map[string]*memFile) {
	if op.from != "" && names[op.from] == op.file {
		delete(names, op.from)
	}
	if op.file == nil {
		delete(names, op.name)
		return
	}
	names[op.name] = op.file
}

// Secure implements FS.
func (m *Mem) Secure(dir string) (tightened bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if err := m.begin(OpSecure, dir); err != nil {
		return false, err
	}
	if !m.dirs[dir] {
		return false, notExist("chmod", dir)
	}
	tightened = m.open[dir]
	delete(m.open, dir)
	return tightened, nil
}

// Lock implements FS. A crash frees every lock.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if err := m.begin(OpLock, name); err != nil {
		return nil, err
	}
	if m.locks[name] {
		return nil, &LockedError{Path: name}
	}
	if !m.dirs[filepath.Dir(name)] {
		return nil, notExist("lock", name)
	}
	m.locks[name] = true
	if _, ok := m.files[name]; !ok {
		f := newMemFile(name)
		m.files[name] = f
		m.renames = append(m.renames, nameOp{name: name, file: f})
	}
	return &memLock{m: m, name: name}, nil
}

type memLock struct {
	m    *Mem
	name string
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// Expose lets others enter dir, as chmod 0777 would, for Secure to find.
func (m *Mem) Expose(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[filepath.Clean(dir)] = true
}

// SetCapacity limits the bytes of all files together; 0 is no limit. It may be less than what is used already.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Room implements FS.
func (m *Mem) Room(dir string) (Room, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin(OpStat, dir); err != nil {
		return Room{}, err
	}
	if m.capacity == 0 {
		return Endless, nil
	}
	return Room{Free: max(0, m.capacity-m.used()), Total: m.capacity}, nil
}

// Used returns the bytes of all files together.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used()
}

func (m *Mem) used() int64 {
	var n int64
	for _, f := range m.files {
		n += f.now.size
	}
	return n
}

// room returns ErrNoSpace if the files cannot grow by the bytes asked for.
func (m *Mem) room(bytes int64) error {
	if bytes > 0 && m.capacity > 0 && m.used()+bytes > m.capacity {
		return fmt.Errorf("%w: %d of %d bytes are used", ErrNoSpace, m.used(), m.capacity)
	}
	return nil
}

// String lists the files and their sizes, for the messages of tests.
func (m *Mem) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []string
	for name, f := range m.files {
		lines = append(lines, fmt.Sprintf("%s %d", name, f.now.size))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func notExist(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }
