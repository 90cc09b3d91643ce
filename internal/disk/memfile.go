package disk

import (
	"io"
	"io/fs"
	"maps"
)

const (
	pageBytes   = 4096 // unit in which Mem keeps contents
	sectorBytes = 512  // unit that a disk writes whole or not at all, unless it is torn
)

// memFile is a file of a Mem: how it reads now, what is safe of it, and the way from the one to the other.
type memFile struct {
	name    string // its last name, for faults
	now     image
	safe    image
	pending []fileOp
}

// fileOp is a change a crash may undo: a write, or, with data nil, a new size.
type fileOp struct {
	at   int64 // offset of data, or the new size
	data []byte
}

func newMemFile(name string) *memFile {
	return &memFile{name: name, now: newImage(), safe: newImage()}
}

func (f *memFile) write(p []byte, at int64) {
	f.now.write(p, at)
	f.pending = append(f.pending, fileOp{at: at, data: append([]byte{}, p...)})
}

func (f *memFile) truncate(size int64) {
	f.now.truncate(size)
	f.pending = append(f.pending, fileOp{at: size})
}

func (f *memFile) sync() {
	for _, op := range f.pending {
		op.apply(&f.safe)
	}
	f.pending = nil
}

// crashed returns the file as a new one, of which only img is left.
func crashed(name string, img image) *memFile {
	return &memFile{name: name, now: img.clone(), safe: img}
}

func (op fileOp) apply(i *image) {
	if op.data == nil {
		i.truncate(op.at)
		return
	}
	i.write(op.data, op.at)
}

// image is the content of a file; pages that were never written are zero and take no memory.
type image struct {
	size  int64
	pages map[int64]*[pageBytes]byte
}

func newImage() image { return image{pages: map[int64]*[pageBytes]byte{}} }

func (i *image) clone() image {
	c := image{size: i.size, pages: maps.Clone(i.pages)}
	for n, p := range c.pages {
		copied := *p
		c.pages[n] = &copied
	}
	return c
}

func (i *image) write(p []byte, at int64) {
	i.size = max(i.size, at+int64(len(p)))
	for len(p) > 0 {
		page := i.pages[at/pageBytes]
		if page == nil {
			page = new([pageBytes]byte)
			i.pages[at/pageBytes] = page
		}
		n := copy(page[at%pageBytes:], p)
		p, at = p[n:], at+int64(n)
	}
}

func (i *image) read(p []byte, at int64) int {
	if at >= i.size {
		return 0
	}
	p = p[:min(int64(len(p)), i.size-at)]
	for rest := p; len(rest) > 0; {
		var n int
		if page := i.pages[at/pageBytes]; page != nil {
			n = copy(rest, page[at%pageBytes:])
		} else {
			n = int(min(int64(len(rest)), pageBytes-at%pageBytes))
			clear(rest[:n])
		}
		rest, at = rest[n:], at+int64(n)
	}
	return len(p)
}

func (i *image) truncate(size int64) {
	if size < i.size {
		for n := range i.pages {
			if n*pageBytes >= size {
				delete(i.pages, n)
			}
		}
		if page := i.pages[size/pageBytes]; page != nil {
			clear(page[size%pageBytes:])
		}
	}
	i.size = size
}

// memHandle is an open memFile.
type memHandle struct {
	m      *Mem
	f      *memFile
	closed bool // guarded by m.mu
}

// begin counts an operation on the file, and says whether it fails. m.mu is held.
func (h *memHandle) begin(op Op) error {
	if h.closed {
		return &fs.PathError{Op: op.String(), Path: h.f.name, Err: fs.ErrClosed}
	}
	return h.m.begin(op, h.f.name)
}

func (h *memHandle) ReadAt(p []byte, at int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.begin(OpRead); err != nil {
		return 0, err
	}
	n := h.f.now.read(p, at)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of p before it fails by a fault, and what there is room for on a full disk.
func (h *memHandle) WriteAt(p []byte, at int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.begin(OpWrite); err != nil {
		if !h.closed && !h.m.dead() {
			h.f.write(p[:len(p)/2], at)
		}
		return 0, err
	}
	if err := h.m.room(at + int64(len(p)) - h.f.now.size); err != nil {
		n := max(0, min(int64(len(p)), h.f.now.size+h.m.capacity-h.m.used()-at))
		h.f.write(p[:n], at)
		return int(n), err
	}
	h.f.write(p, at)
	return len(p), nil
}

// Sync that fails forgets what was not safe yet: no later Sync makes it safe, though it reads back until a crash.
func (h *memHandle) Sync() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.begin(OpSync); err != nil {
		if !h.closed && !h.m.dead() {
			h.f.pending = nil
		}
		return err
	}
	h.f.sync()
	return nil
}

// WriteSync is a write and a sync: a crash or a fault may lie between.
func (h *memHandle) WriteSync(p []byte, at int64) error {
	if _, err := h.WriteAt(p, at); err != nil {
		return err
	}
	return h.Sync()
}

func (h *memHandle) Allocate(size int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.begin(OpAllocate); err != nil {
		return err
	}
	if err := h.m.room(size - h.f.now.size); err != nil {
		return err
	}
	if size > h.f.now.size {
		h.f.truncate(size)
	}
	return nil
}

func (h *memHandle) Truncate(size int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.begin(OpTruncate); err != nil {
		return err
	}
	if err := h.m.room(size - h.f.now.size); err != nil {
		return err
	}
	h.f.truncate(size)
	return nil
}

func (h *memHandle) Size() (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if err := h.begin(OpStat); err != nil {
		return 0, err
	}
	return h.f.now.size, nil
}

func (h *memHandle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	return nil
}
