package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is the part of a server's version that is compared.
type Version struct{ Major, Minor uint64 }

// Before tells whether a version is older than another one.
func (v Version) Before(o Version) bool {
	return v.Major < o.Major || v.Major == o.Major && v.Minor < o.Minor
}

// ParseVersion parses major.minor.patch; a suffix may follow.
func ParseVersion(text string) (Version, error) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) != 3 || len(text) > 64 {
		return Version{}, fmt.Errorf("%.80q is no version", text)
	}
	major, errMajor := strconv.ParseUint(parts[0], 10, 31)
	minor, errMinor := strconv.ParseUint(parts[1], 10, 31)
	patch, _, _ := strings.Cut(parts[2], "-")
	patch, _, _ = strings.Cut(patch, "+")
	_, errPatch := strconv.ParseUint(patch, 10, 31)
	if errMajor != nil || errMinor != nil || errPatch != nil {
		return Version{}, fmt.Errorf("%.80q is no version", text)
	}
	return Version{major, minor}, nil
}
