"""Files of strangers decoded apart: in processes that can be ended, and that hold so much alone."""
