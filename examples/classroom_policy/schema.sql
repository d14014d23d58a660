CREATE TABLE classes (
    session_id TEXT PRIMARY KEY,
    starts_at REAL NOT NULL,  -- Unix seconds
    ends_at REAL NOT NULL
);

CREATE TABLE members (
    session_id TEXT NOT NULL REFERENCES classes,
    user TEXT NOT NULL,
    part TEXT NOT NULL CHECK (part IN ('teacher', 'pupil')),
    PRIMARY KEY (session_id, user)
);
