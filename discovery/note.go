package discovery

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"canopy/internal/disk"
)

// note is the small file that records that this data directory waits for its
// cluster, and as which member. It exists from before registering until the
// member has a log. So a process that finds it has never run: the registration is
// its own, and it does not matter whether the others have started (D24).
type note struct {
	Token string `json:"token"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

const noteMax = 64 << 10 // bytes

// NoteName is the file in the data directory in which a process that waits for
// its cluster records its registration.
const NoteName = "discovery"

// readNote gives the zero note if there is no file.
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

// Forget removes the note from a data directory. It is called once the member
// has a log, and at each start of one.
func Forget(fsys disk.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, NoteName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
