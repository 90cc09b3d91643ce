package disk

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// Crash returns the file system as it may be found after the power was cut now; m itself stays as it is. What is safe is
// there. Of the rest, each change of a name and each sector written survives or not as the seed has it; whole fates (all
// kept, all lost, cut at one byte with nothing behind it) are among the outcomes. Equal seeds give equal outcomes. The
// copy has the capacity of m, and neither its locks nor its faults.
func (m *Mem) Crash(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 0x63616e6f7079))
	c := NewMem()
	c.capacity = m.capacity
	c.dirs, c.open = maps.Clone(m.dirs), maps.Clone(m.open)
	names := m.surviving(rng)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c.files[name] = crashed(name, names[name].surviving(rng))
	}
	c.durable = maps.Clone(c.files)
	return c
}

// Clone returns the file system as the next process finds it when this one was killed: nothing is lost but the locks.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMem()
	c.capacity = m.capacity
	c.dirs, c.open = maps.Clone(m.dirs), maps.Clone(m.open)
	copies := map[*memFile]*memFile{}
	copied := func(f *memFile) *memFile {
		if f != nil && copies[f] == nil {
			copies[f] = &memFile{name: f.name, now: f.now.clone(), safe: f.safe.clone(), pending: slices.Clone(f.pending)}
		}
		return copies[f]
	}
	for name, f := range m.files {
		c.files[name] = copied(f)
	}
	for name, f := range m.durable {
		c.durable[name] = copied(f)
	}
	for _, op := range m.renames {
		c.renames = append(c.renames, nameOp{name: op.name, from: op.from, file: copied(op.file)})
	}
	return c
}

// surviving decides which of the changes to names outlive the crash: all, none, the first few, or each by itself.
func (m *Mem) surviving(rng *rand.Rand) map[string]*memFile {
	names := maps.Clone(m.durable)
	fate, first := rng.IntN(4), rng.IntN(len(m.renames)+1)
	for i, op := range m.renames {
		if fate == 0 || fate == 1 && i < first || fate == 2 && rng.IntN(2) == 0 {
			op.apply(names)
		}
	}
	maps.DeleteFunc(names, func(name string, _ *memFile) bool { return !m.dirs[filepath.Dir(name)] })
	return names
}

// surviving decides which bytes outlive the crash.
func (f *memFile) surviving(rng *rand.Rand) image {
	img := f.safe.clone()
	var total int64
	for _, op := range f.pending {
		total += int64(len(op.data)) + 1
	}
	fate, cut := rng.IntN(5), rng.Int64N(total+1)
	for _, op := range f.pending {
		switch {
		case fate == 0: // all
			op.apply(&img)
		case fate == 1: // as far as one byte
			op.cut(cut).apply(&img)
			cut -= int64(len(op.data)) + 1
			if cut <= 0 {
				return img
			}
		case fate == 2: // each sector by itself
			op.scatter(&img, rng)
		case fate == 3: // each sector by itself, as far as one byte
			op.cut(cut).scatter(&img, rng)
			cut -= int64(len(op.data)) + 1
			if cut <= 0 {
				return img
			}
		}
	}
	return img
}

// cut returns the first n bytes of a write; a change of size is whole.
func (op fileOp) cut(n int64) fileOp {
	if op.data == nil {
		return op
	}
	return fileOp{at: op.at, data: op.data[:min(n, int64(len(op.data)))]}
}

// scatter applies a part of op: about half of its sectors.
func (op fileOp) scatter(img *image, rng *rand.Rand) {
	if op.data == nil {
		if rng.IntN(2) == 0 {
			op.apply(img)
		}
		return
	}
	for at, rest := op.at, op.data; len(rest) > 0; {
		n := min(sectorBytes-at%sectorBytes, int64(len(rest)))
		if rng.IntN(2) == 0 {
			img.write(rest[:n], at)
		}
		rest, at = rest[n:], at+n
	}
}
