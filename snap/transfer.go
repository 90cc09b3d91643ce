package snap

import (
	"fmt"
	"io"
	"path/filepath"

	"canopy/internal/disk"
)

// importBytes is how many bytes of a body Import holds at a time.
const importBytes = 256 << 10

// Export hands the raw bytes of a snapshot's file, and how many they are, to write. They are not checked on the way:
// Import does that, where they arrive. Any number of goroutines may call it, beside everything else; a snapshot that is
// purged or replaced meanwhile is handed out whole. An error of write is returned as it is, a missing file as one that
// matches fs.ErrNotExist.
func (d *Dir) Export(m Meta, write func(r io.Reader, size int64) error) error {
	f, err := d.fs.Open(d.Path(m))
	if err != nil {
		return fmt.Errorf("snap: export: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		err = fmt.Errorf("snap: size of %s: %w", d.Path(m), err)
	} else {
		err = write(io.NewSectionReader(f, 0, size), size)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// Import makes a snapshot of the raw bytes that Export has handed out elsewhere, and hands its plain bytes to read, as
// SavePaced does. When it returns nil, the snapshot is on disk and was read back, to its last byte; else those there were
// are as they were, and the room is given back. A body that is damaged, short or another snapshot's is a *CorruptError, or
// ErrNewerFormat, or what r returned in place of io.EOF. A snapshot of the same Meta is replaced. Any number of goroutines
// may call it, beside everything else.
func (d *Dir) Import(m Meta, r io.Reader, read func(r io.Reader) error) error {
	name := fmt.Sprintf("%016x-%016x-%x%s", m.Term, m.Index, d.imports.Add(1), importSuffix)
	temp := filepath.Join(d.dir, name)
	return d.clear("import", temp, m, d.receive(temp, m, r, read))
}

func (d *Dir) receive(temp string, m Meta, r io.Reader, read func(io.Reader) error) error {
	f, err := d.fs.Create(temp)
	if err != nil {
		return err
	}
	return d.seal(f, temp, m, read, copyTo(d.steady(f), r))
}

// copyTo writes all that r gives from the start of a file.
func copyTo(f disk.File, r io.Reader) error {
	buf := make([]byte, importBytes)
	var at int64
	for filled := 0; ; {
		n, err := r.Read(buf[filled:])
		filled += n
		if filled < len(buf) && err == nil {
			continue
		}
		if _, e := f.WriteAt(buf[:filled], at); e != nil {
			return e
		}
		at, filled = at+int64(filled), 0
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
