"""Sessions of the application's database."""

import os

from sqlalchemy import create_engine
from sqlalchemy.orm import sessionmaker

from database.models import metadata

engine = create_engine(os.environ["SHOP_DATABASE"])
_sessions = sessionmaker(bind=engine)


def get_session():
    """A session, to be closed by whoever asked."""
    return _sessions()


def create_all():
    """Makes the tables that are missing."""
    metadata.create_all(engine)
