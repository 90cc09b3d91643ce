package process

import (
	"fmt"

	"github.com/sirupsen/logrus"

	"canopy/internal/redact"
)

// redacting is a formatter that removes passwords from all log lines.
type redacting struct{ logrus.Formatter }

// Format implements logrus.Formatter.
func (r redacting) Format(e *logrus.Entry) ([]byte, error) {
	e.Message = redact.Passwords(e.Message)
	for name, value := range e.Data {
		var text string
		switch v := value.(type) {
		case string:
			text = v
		case error:
			text = v.Error()
		case fmt.Stringer:
			text = v.String()
		default:
			continue
		}
		if shown := redact.Passwords(text); shown != text {
			e.Data[name] = shown
		}
	}
	return r.Formatter.Format(e)
}
