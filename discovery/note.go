package discovery

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"canopy/internal/disk"
)

// note is the small file that says that this data directory waits for its
// cluster, and as who. It is there from before registering until the member has
// a log. So whoever finds it has never run: its registration is its own, and
// whether the others have begun without it does not matter (D24).
type note struct {
	Token string `json:"token"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

const noteMax = 64 << 10 // bytes

// NoteName is the name of the file in the data directory in which a process
// that waits for its cluster keeps who it is.
const NoteName = "discovery"

// readNote gives the zero note if there is none.
func readNote(fsys disk.FS, dir string) (note, error) {
	data, err := disk.ReadFile(fsys, filepath.Join(dir, NoteName), noteMax)
	if errors.Is(err, fs.ErrNotExist) {
		return note{}, nil
	}
	var n note
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	return n, err
}

func (n note) write(fsys disk.FS, dir string) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return disk.WriteFile(fsys, filepath.Join(dir, NoteName), append(data, '\n'))
}

// Forget removes what Join has kept in a data directory. It is to be called
// once the member has a log, and at each start of one.
func Forget(fsys disk.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, NoteName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
