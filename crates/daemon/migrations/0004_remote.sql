-- How a primary on another machine is reached, as JSON.
ALTER TABLE primaries ADD COLUMN remote TEXT;
